# FlatBuffers' compiler for the machine that builds: since TensorFlow 2.18 a header of the
# XNNPACK delegate is generated. Made by FlatBuffers' own build files, and without
# optimization, since it reads one small schema. It is linked as the check of a core is: for
# another processor or another optimization zig would compile a C++ library of its own.
include(ExternalProject)

# core_add_host_flatc()
#
# Sets what TensorFlow Lite's build files look for, in the caller's scope: FLATC_BIN, which
# they search for when cross-compiling, and FLATC_TARGET, which makes it.
macro(core_add_host_flatc)
  set(FLATC_TARGET host-flatc)
  set(TFLITE_HOST_TOOLS_DIR "${CMAKE_BINARY_DIR}/host-flatc" CACHE PATH "" FORCE)
  set(FLATC_BIN "${TFLITE_HOST_TOOLS_DIR}/flatc" CACHE FILEPATH "" FORCE)
  ExternalProject_Add(host-flatc
    SOURCE_DIR "${CORE_TREES}/flatbuffers"
    BINARY_DIR "${TFLITE_HOST_TOOLS_DIR}"
    CMAKE_ARGS
      "-DCMAKE_TOOLCHAIN_FILE=${CMAKE_TOOLCHAIN_FILE}"
      "-DZIG=${ZIG}"
      "-DZIG_TARGET=${CMAKE_HOST_SYSTEM_PROCESSOR}-linux-gnu.2.17"
      "-DZIG_CPU=${CORE_HOST_CPU}"
      "-DCMAKE_CXX_FLAGS=-O0 -g0 -w -fno-sanitize=undefined"
      "-DCMAKE_EXE_LINKER_FLAGS=-O3 -s"
      -DCMAKE_UNITY_BUILD=ON
      -DCMAKE_UNITY_BUILD_BATCH_SIZE=0
      "-DCMAKE_PROJECT_INCLUDE=${CMAKE_CURRENT_LIST_DIR}/flatc_unity.cmake"
      -DFLATBUFFERS_BUILD_TESTS=OFF
      -DFLATBUFFERS_BUILD_FLATLIB=OFF
      -DFLATBUFFERS_BUILD_FLATHASH=OFF
    BUILD_COMMAND "${CMAKE_COMMAND}" --build "${TFLITE_HOST_TOOLS_DIR}" --target flatc
    BUILD_BYPRODUCTS "${FLATC_BIN}"
    INSTALL_COMMAND ""
    EXCLUDE_FROM_ALL ON
  )
endmacro()
