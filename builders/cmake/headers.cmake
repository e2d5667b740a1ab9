# precompile_abseil()
#
# Precompiles the headers that most of abseil's sources include: some hundred small files whose
# compilation is their parsing. A target that depends on no other one compiles them for all.
function(precompile_abseil)
  get_target_property(first absl::log_severity ALIASED_TARGET)
  set(headers algorithm atomic chrono functional memory ostream string vector)
  list(TRANSFORM headers PREPEND "$<$<COMPILE_LANGUAGE:CXX>:<")
  list(TRANSFORM headers APPEND "$<ANGLE-R>>")
  target_precompile_headers(${first} PRIVATE ${headers})
  targets_below("${CORE_TREES}/absl" targets)
  foreach(target IN LISTS targets)
    get_target_property(type ${target} TYPE)
    if(type STREQUAL "STATIC_LIBRARY" AND NOT target STREQUAL first)
      target_precompile_headers(${target} REUSE_FROM ${first})
    endif()
  endforeach()
endfunction()

# The targets that the build files of <directory>, and of folders below it, make.
function(targets_below directory result)
  get_property(targets DIRECTORY "${directory}" PROPERTY BUILDSYSTEM_TARGETS)
  get_property(folders DIRECTORY "${directory}" PROPERTY SUBDIRECTORIES)
  foreach(folder IN LISTS folders)
    targets_below("${folder}" more)
    list(APPEND targets ${more})
  endforeach()
  set(${result} "${targets}" PARENT_SCOPE)
endfunction()
