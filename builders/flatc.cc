// FlatBuffers' compiler, with the generator of C++ alone: those of all other languages take most
// of the time to compile. It knows the options that TensorFlow's build files give it:
//
//     flatc -c [--gen-mutable] [--gen-object-api] -o FOLDER SCHEMA
//
// writes FOLDER/<name of the schema>_generated.h. Compiled as one source, since FlatBuffers'
// headers take most of the time of each.

#include "src/code_generators.cpp"
#include "src/idl_gen_cpp.cpp"
#include "src/idl_parser.cpp"
#include "src/util.cpp"

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <type_traits>

// What idl_gen_cpp.cpp refers to of other files of FlatBuffers' compiler.
namespace flatbuffers {
bool GenerateCppGRPC(const Parser&, const std::string&, const std::string&) { return false; }
void LogCompilerError(const std::string& error) {
  std::cerr << "error: " << error << std::endl;
  std::exit(1);
}
}  // namespace flatbuffers

using flatbuffers::LogCompilerError;

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
  flatbuffers::IDLOptions options;
  std::string folder, schema;
  bool cpp = false;
  for (int index = 1; index < argc; ++index) {
    const std::string word = argv[index];
    if (word == "-c") {
      cpp = true;
    } else if (word == "--gen-mutable") {
      options.mutable_buffer = true;
    } else if (word == "--gen-object-api") {
      options.generate_object_based_api = true;
    } else if (word == "-o" && index + 1 < argc) {
      folder = flatbuffers::ConCatPathFileName(argv[++index], "");
    } else if (word[0] != '-' && schema.empty()) {
      schema = word;
    } else {
      LogCompilerError("this flatc does not know " + word);
    }
  }
  if (!cpp || folder.empty() || schema.empty()) {
    LogCompilerError("this flatc needs -c, -o FOLDER and one schema");
  }
  set_saver(options, 0);
  flatbuffers::Parser parser(options);
  std::string text;
  if (!flatbuffers::LoadFile(schema.c_str(), false, &text)) {
    LogCompilerError("cannot read " + schema);
  }
  if (!parser.Parse(text.c_str())) LogCompilerError(parser.error_);
  const std::string name = flatbuffers::StripExtension(flatbuffers::StripPath(schema));
  flatbuffers::EnsureDirExists(folder);
  const auto status = flatbuffers::NewCppCodeGenerator()->GenerateCode(parser, folder, name);
  if (status != flatbuffers::CodeGenerator::Status::OK) LogCompilerError("cannot write to " + folder);
}
