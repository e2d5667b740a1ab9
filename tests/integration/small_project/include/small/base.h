#ifndef SMALL_BASE_H_
#define SMALL_BASE_H_
#ifdef __cplusplus
extern "C" {
#endif
int base(int value);
const char* base_file(void);
const char* merged_file(void);
#ifdef __cplusplus
}
#endif
#endif
