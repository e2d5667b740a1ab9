# In place of TensorFlow's module of this name. A macro's return() is its caller's: the
# module ends with its declaration.
macro(OverridableFetchContent_Declare)
  message(NOTICE "${ARGV}")
  return()
endmacro()
