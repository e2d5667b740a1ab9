# Prints what a module of TensorFlow Lite declares to be fetched, and nothing of it is:
# cmake -DMODULE=x.cmake -P pins.cmake
cmake_policy(VERSION 3.25)
set(CMAKE_MODULE_PATH "${CMAKE_CURRENT_LIST_DIR}")
include(OverridableFetchContent)
include("${MODULE}")
