# merge_sources_by_flags(<target>)
#
# Replaces the C sources of <target> by one generated file per distinct set of
# compile flags that includes them. XNNPACK's production microkernels are some
# 900 files of a few dozen lines; compiled one by one most of the time goes into
# starting the compiler and parsing the intrinsics headers. CMake's own
# UNITY_BUILD leaves out any source that has COMPILE_FLAGS, which they all have.
function(merge_sources_by_flags target)
  get_target_property(directory ${target} SOURCE_DIR)
  get_target_property(binary_directory ${target} BINARY_DIR)
  get_target_property(sources ${target} SOURCES)
  list(REMOVE_DUPLICATES sources)
  set(kept "")
  set(groups "")
  foreach(source IN LISTS sources)
    if(NOT source MATCHES "\\.c$")
      list(APPEND kept "${source}")
      continue()
    endif()
    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY "${directory}")
    get_source_file_property(flags "${source}" DIRECTORY "${directory}" COMPILE_FLAGS)
    if(NOT flags)
      set(flags "")
    endif()
    # On arm64 the kernels for any processor and those for NEON, which every such
    # processor has, have the same flags, but each kind gives the names of XNNPACK's
    # simd headers a meaning of its own.
    set(kind "")
    if(source MATCHES "neon[^/]*$")
      set(kind "neon")
    endif()
    string(SHA1 group "${kind}${flags}")
    if(NOT group IN_LIST groups)
      list(APPEND groups ${group})
      set(flags_${group} "${flags}")
    endif()
    string(APPEND text_${group} "#include \"${source}\"\n")
  endforeach()
  foreach(group IN LISTS groups)
    set(merged "${binary_directory}/${target}-${group}.c")
    file(CONFIGURE OUTPUT "${merged}" CONTENT "${text_${group}}" @ONLY)
    set_source_files_properties("${merged}" TARGET_DIRECTORY ${target}
      PROPERTIES COMPILE_FLAGS "${flags_${group}}")
    list(APPEND kept "${merged}")
  endforeach()
  set_property(TARGET ${target} PROPERTY SOURCES ${kept})
endfunction()
