#include "small/base.h"

const char* merged_file(void) { return __FILE__; }
