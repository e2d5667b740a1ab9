/* The initializer of the module. It runs on every x86-64 processor, and calls the module's own,
   named RUNTIME_INIT, on those that have the level x86-64-v2, for which all else is compiled
   (x86-64 psABI, "Micro-Architecture Levels"). Elsewhere the import raises an ImportError
   rather than ending the process with an illegal instruction. */
#include <Python.h>
#include <cpuid.h>

struct feature {
  unsigned int leaf;
  unsigned int bit; /* of ECX */
  const char *name;
};

static const struct feature level[] = {
    {1, bit_SSE3, "SSE3"},
    {1, bit_SSSE3, "SSSE3"},
    {1, bit_CMPXCHG16B, "CMPXCHG16B"},
    {1, bit_SSE41, "SSE4.1"},
    {1, bit_SSE42, "SSE4.2"},
    {1, bit_POPCNT, "POPCNT"},
    {0x80000001u, bit_LAHF_LM, "LAHF"},
};

static const char *missing(void) {
  for (size_t at = 0; at < sizeof level / sizeof *level; at++) {
    unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (!__get_cpuid(level[at].leaf, &eax, &ebx, &ecx, &edx) || !(ecx & level[at].bit)) {
      return level[at].name;
    }
  }
  return NULL;
}

PyObject *RUNTIME_INIT(void);

PyMODINIT_FUNC PyInit__pywrap_tensorflow_interpreter_wrapper(void) {
  const char *feature = missing();
  if (feature != NULL) {
    return PyErr_Format(PyExc_ImportError,
                        "this processor lacks %s: tflite_runtime needs an x86-64-v2 processor, "
                        "as all of AWS Lambda's are",
                        feature);
  }
  return RUNTIME_INIT();
}
