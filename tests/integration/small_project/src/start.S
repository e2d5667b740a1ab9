#include "constants.h"
    .text
    .globl small_start
small_start:
    .long SMALL_CONSTANT
    .section .note.GNU-stack,"",%progbits
