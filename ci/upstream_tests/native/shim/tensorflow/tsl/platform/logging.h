// Its place before TensorFlow 2.15.
#include "tsl/platform/logging.h"
