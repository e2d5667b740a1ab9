# zig's name for a GCC-style Arm architecture: -march=armv8.2-a+fp16 is
# -mcpu=generic+v8_2a+fullfp16, and zig refuses the former (`unknown CPU`).
# Every extension but fp16 has the same name in both; zig refuses a wrong one.
function(zig_march_flags variable flags)
  string(REGEX MATCHALL "[^ ]+" words "${flags}")
  set(translated "")
  foreach(word IN LISTS words)
    if(word MATCHES "^-march=armv([0-9]+)([.]([0-9]+))?-a(.*)$")
      set(version "v${CMAKE_MATCH_1}a")
      if(CMAKE_MATCH_3)
        set(version "v${CMAKE_MATCH_1}_${CMAKE_MATCH_3}a")
      endif()
      string(REGEX REPLACE "[+]fp16([+]|$)" "+fullfp16\\1" extensions "${CMAKE_MATCH_4}")
      set(word "-mcpu=generic+${version}${extensions}")
    endif()
    list(APPEND translated "${word}")
  endforeach()
  list(JOIN translated " " translated)
  set(${variable} "${translated}" PARENT_SCOPE)
endfunction()

# zig_translate_march(<target>)
#
# Translates the flags that upstream has set on each source of <target>. Done once,
# when configuring, rather than by a wrapper around every call of the compiler.
function(zig_translate_march target)
  get_target_property(directory ${target} SOURCE_DIR)
  get_target_property(sources ${target} SOURCES)
  foreach(source IN LISTS sources)
    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY "${directory}")
    get_source_file_property(flags "${source}" DIRECTORY "${directory}" COMPILE_FLAGS)
    if(flags MATCHES "-march=arm")
      zig_march_flags(translated "${flags}")
      set_source_files_properties("${source}" DIRECTORY "${directory}"
        PROPERTIES COMPILE_FLAGS "${translated}")
    endif()
  endforeach()
endfunction()
