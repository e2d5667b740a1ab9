// What the extension uses of TensorFlow's header of this name, for trees that come
// without it: those that hold only TensorFlow Lite. Searched last.
#ifndef TENSORFLOW_PYTHON_LIB_CORE_PYBIND11_LIB_H_
#define TENSORFLOW_PYTHON_LIB_CORE_PYBIND11_LIB_H_

#include <Python.h>

#include "pybind11/pybind11.h"

namespace tensorflow {

// Takes over the reference to an object that a function of Python's C API gave. None
// was given where it failed: then its exception goes on, as one of C++.
inline pybind11::object PyoOrThrow(PyObject* given) {
  if (given == nullptr) throw pybind11::error_already_set();
  return pybind11::reinterpret_steal<pybind11::object>(given);
}

}  // namespace tensorflow

#endif  // TENSORFLOW_PYTHON_LIB_CORE_PYBIND11_LIB_H_
