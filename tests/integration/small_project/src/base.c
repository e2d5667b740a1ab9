#include "small/base.h"

#define CONFIGURATION "small/option.h"
#include CONFIGURATION

#if defined(__has_include)
#if __has_include("../include/small/option.h")
#define OFFSET 1
#endif
#endif
#ifndef OFFSET
#define OFFSET 1000
#endif

int base(int value) { return value + OFFSET + SMALL_OPTION; }
const char* base_file(void) { return __FILE__; }
