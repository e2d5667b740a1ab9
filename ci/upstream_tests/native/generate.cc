// Writes the C++ header of a FlatBuffers schema, as flatc does with --gen-mutable and
// --gen-object-api: of flatc, the languages that nobody asked for take most of the time.
//
//     generate SCHEMA FOLDER/    writes FOLDER/<name of the schema>_generated.h

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <type_traits>

#include "flatbuffers/code_generator.h"
#include "flatbuffers/idl.h"
#include "flatbuffers/util.h"
#include "src/idl_gen_cpp.h"

// What idl_gen_cpp.cpp refers to of other files of flatc.
namespace flatbuffers {
bool GenerateCppGRPC(const Parser&, const std::string&, const std::string&) { return false; }
void LogCompilerError(const std::string& error) {
  std::cerr << "error: " << error << std::endl;
  std::exit(1);
}
}  // namespace flatbuffers

// Since 25.9 FlatBuffers writes files through an object that its options name.
template <typename Base>
struct Saver : Base {
  bool SaveFile(const char* name, const char* data, size_t size, bool) override {
    return static_cast<bool>(std::ofstream(name, std::ios::binary).write(data, size));
  }
};

template <typename Options>
auto set_saver(Options& options, int) -> decltype(options.file_saver, void()) {
  static Saver<std::remove_pointer_t<decltype(options.file_saver)>> saver;
  options.file_saver = &saver;
}

template <typename Options>
void set_saver(Options&, long) {}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::string schema = argv[1];
  flatbuffers::IDLOptions options;
  options.mutable_buffer = true;
  options.generate_object_based_api = true;
  set_saver(options, 0);
  flatbuffers::Parser parser(options);
  std::string text;
  if (!flatbuffers::LoadFile(schema.c_str(), false, &text)) {
    std::cerr << "error: cannot read " << schema << std::endl;
    return 1;
  }
  if (!parser.Parse(text.c_str())) {
    std::cerr << "error: " << parser.error_ << std::endl;
    return 1;
  }
  const std::string name = flatbuffers::StripExtension(flatbuffers::StripPath(schema));
  const auto status =
      flatbuffers::NewCppCodeGenerator()->GenerateCode(parser, argv[2], name);
  return status == flatbuffers::CodeGenerator::Status::OK ? 0 : 1;
}
