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
    # Not all wrappers of KleidiAI have the parameters that XNNPACK's headers declare.
    if(NOT source MATCHES "\\.c$" OR source MATCHES "/qp8-f32-qc8w-gemm/")
      list(APPEND kept "${source}")
      continue()
    endif()
    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY "${directory}")
    get_source_file_property(flags "${source}" DIRECTORY "${directory}" COMPILE_FLAGS)
    if(NOT flags)
      set(flags "")
    endif()
    # Half precision's functions in plain C: unrolled, with each conversion inlined, they would be
    # a twentieth of the code. Nobody waits for them: without an option of the delegate's, which
    # the Python package does not have, models compute in float32.
    if(source MATCHES "/f16-v[^/]+/gen/[^/]*-scalar-")
      string(APPEND flags " -Oz")
    endif()
    # Kernels for any processor and those for what every processor of an architecture
    # has, NEON or SSE2, may have the same flags, but each kind gives the names of
    # XNNPACK's simd headers a meaning of its own.
    set(kind "")
    if(source MATCHES "neon[^/]*$")
      set(kind "neon")
    elseif(source MATCHES "sse[^/]*$" AND NOT flags MATCHES "-ms?sse")
      set(kind "sse")
    endif()
    string(SHA1 group "${kind}${flags}")
    if(NOT group IN_LIST groups)
      list(APPEND groups ${group})
      set(flags_${group} "${flags}")
    endif()
    include_with_own_names("${source}" text_${group} names_${group})
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

# Appends to <text> what includes <source>. A static function whose name an earlier
# source of the group gave to one of its own, in <names>, gets another name.
function(include_with_own_names source text names)
  file(READ "${source}" code)
  string(REGEX MATCHALL "static [^][;={}()#]*[ *\n][A-Za-z0-9_]+\\(" functions "${code}")
  set(before "")
  set(after "")
  foreach(function IN LISTS functions)
    string(REGEX REPLACE ".*[ *\n]([A-Za-z0-9_]+)\\($" "\\1" name "${function}")
    if(name IN_LIST ${names})
      cmake_path(GET source STEM stem)
      string(MAKE_C_IDENTIFIER "${name}_${stem}" own)
      string(APPEND before "#define ${name} ${own}\n")
      string(APPEND after "#undef ${name}\n")
    endif()
    list(APPEND ${names} "${name}")
  endforeach()
  string(APPEND ${text} "${before}#include \"${source}\"\n${after}")
  set(${text} "${${text}}" PARENT_SCOPE)
  set(${names} "${${names}}" PARENT_SCOPE)
endfunction()
