// What upstream's tests use of RE2, with the regular expressions of C++: a list for Android of
// the tests that a delegate is to take.
#ifndef UPSTREAM_TESTS_RE2_H_
#define UPSTREAM_TESTS_RE2_H_

#include <regex>
#include <string>

class RE2 {
 public:
  RE2(const std::string& pattern) : pattern_(pattern), regex_(pattern) {}

  const std::string& pattern() const { return pattern_; }

  static bool FullMatch(const std::string& text, const RE2& expression) {
    return std::regex_match(text, expression.regex_);
  }

 private:
  std::string pattern_;
  std::regex regex_;
};

#endif  // UPSTREAM_TESTS_RE2_H_
