#include "small/base.h"

int First(int value) { return base(Twice(value)); }
