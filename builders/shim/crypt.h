// Python.h includes <crypt.h> where the machine that Python was compiled on has
// one (up to Python 3.8). zig's glibc headers have none, and nothing here uses it.
