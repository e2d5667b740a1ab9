# zig as the C and C++ compiler for a chosen architecture and glibc floor.
# ZIG, ZIG_TARGET (such as x86_64-linux-gnu.2.17) and ZIG_CPU (x86_64_v2) come from core.py.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ZIG ZIG_TARGET ZIG_CPU ZIG_CLANG)
string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "${ZIG_TARGET}")
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_C_COMPILER "${ZIG}" cc -target ${ZIG_TARGET} -mcpu=${ZIG_CPU})
set(CMAKE_ASM_COMPILER "${ZIG}" cc -target ${ZIG_TARGET} -mcpu=${ZIG_CPU})
set(CMAKE_CXX_COMPILER "${ZIG}" c++ -target ${ZIG_TARGET} -mcpu=${ZIG_CPU})
set(CMAKE_C_STANDARD_LIBRARIES "")
foreach(language IN ITEMS C CXX ASM)
  set(CMAKE_${language}_ARCHIVE_CREATE "\"${ZIG}\" ar qcD <TARGET> <LINK_FLAGS> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_APPEND "\"${ZIG}\" ar qD <TARGET> <LINK_FLAGS> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_FINISH "")
endforeach()

# What CMake else finds out by linking programs, for which zig first compiles a C++ library that
# nothing uses: a minute of each core's time.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
if(NOT ZIG_CLANG)
  execute_process(COMMAND "${ZIG}" cc --version OUTPUT_VARIABLE version COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCH "[0-9]+[.][0-9]+[.][0-9]+" ZIG_CLANG "${version}")
  set(ZIG_CLANG "${ZIG_CLANG}" CACHE STRING "The version of clang that zig contains")
endif()
foreach(language IN ITEMS C CXX)
  set(CMAKE_${language}_COMPILER_ID_RUN TRUE)
  set(CMAKE_${language}_COMPILER_ID Clang)
  set(CMAKE_${language}_COMPILER_VERSION "${ZIG_CLANG}")
  set(CMAKE_${language}_COMPILER_FRONTEND_VARIANT GNU)
  set(CMAKE_${language}_STANDARD_COMPUTED_DEFAULT 17)
  set(CMAKE_${language}_EXTENSIONS_COMPUTED_DEFAULT ON)
  set(CMAKE_${language}_PLATFORM_ID Linux)
endforeach()
# XNNPACK's build files take any ccache that they find.
set(CCACHE_BINARY "" CACHE FILEPATH "" FORCE)
