# Read by FlatBuffers' own build files as they begin. Its compiler is one file per language, which
# take a fifth of the time as one source; this language's names are also another's.
set_source_files_properties(src/idl_gen_kotlin_kmp.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
