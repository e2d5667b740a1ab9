# Of no use to a script, and CMake refuses it in one.
