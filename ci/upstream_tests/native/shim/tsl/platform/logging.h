// What upstream's tests use of TensorFlow's logging: the real one needs a part of TensorFlow
// that no core has.
#ifndef UPSTREAM_TESTS_LOGGING_H_
#define UPSTREAM_TESTS_LOGGING_H_

#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string_view>

namespace upstream_tests {

// A line on standard error; one that is fatal ends the program.
class Line {
 public:
  explicit Line(std::string_view severity) : fatal_(severity == "FATAL") {}
  ~Line() {
    std::cerr << text_.str() << std::endl;
    if (fatal_) std::abort();
  }
  std::ostream& text() { return text_; }

 private:
  const bool fatal_;
  std::ostringstream text_;
};

// Gives a logged expression the type of the other branch of a condition.
struct Ignored {
  void operator&(std::ostream&) const {}
};

}  // namespace upstream_tests

#define LOG(severity) ::upstream_tests::Line(#severity).text()
// Some tests read what a check says.
#define CHECK_OR_SAY(condition, said)                  \
  (condition) ? (void)0                                \
              : ::upstream_tests::Ignored() &          \
                    ::upstream_tests::Line("FATAL").text() << "Check failed: " said " "
#define CHECK(condition) CHECK_OR_SAY(condition, #condition)
#define CHECK_EQ(a, b) CHECK_OR_SAY((a) == (b), #a " == " #b)
#define CHECK_GE(a, b) CHECK_OR_SAY((a) >= (b), #a " >= " #b)
#define CHECK_LE(a, b) CHECK_OR_SAY((a) <= (b), #a " <= " #b)

#endif  // UPSTREAM_TESTS_LOGGING_H_
