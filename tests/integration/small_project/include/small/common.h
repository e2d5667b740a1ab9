#ifndef SMALL_COMMON_H_
#define SMALL_COMMON_H_
#include <cstdint>

inline const char* Here() { return __FILE__; }
inline std::int32_t Twice(std::int32_t value) { return 2 * value; }
#endif
