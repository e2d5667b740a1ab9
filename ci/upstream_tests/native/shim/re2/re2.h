// What upstream's tests use of RE2, with the regular expressions of C++: a list for Android of
// the tests that a delegate is to take.
#ifndef UPSTREAM_TESTS_RE2_H_
#define UPSTREAM_TESTS_RE2_H_

#include <regex>
#include <string>

struct RE2 {
  static bool FullMatch(const std::string& text, const std::string& pattern) {
    return std::regex_match(text, std::regex(pattern));
  }
};

#endif  // UPSTREAM_TESTS_RE2_H_
