// What upstream's tests use to write their models to a folder, if they are given one; they are
// given none here, and the real writer has generated sources.
#ifndef UPSTREAM_TESTS_WRITER_LIB_H_
#define UPSTREAM_TESTS_WRITER_LIB_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "tensorflow/lite/core/c/common.h"
#include "tensorflow/lite/core/interpreter.h"

namespace tflite {

struct ModelWriter {
  explicit ModelWriter(Interpreter*) {}
  TfLiteStatus GetBuffer(std::unique_ptr<uint8_t[]>*, size_t*) { return kTfLiteError; }
};

}  // namespace tflite

#endif  // UPSTREAM_TESTS_WRITER_LIB_H_
