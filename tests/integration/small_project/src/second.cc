#include <vector>

std::vector<const char*> Second() { return {Here(), __FILE__}; }
