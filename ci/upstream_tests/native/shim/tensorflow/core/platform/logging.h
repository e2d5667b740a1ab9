// The same by its name in TensorFlow's core.
#include "tsl/platform/logging.h"
