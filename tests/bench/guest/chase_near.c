// Pointer chase within the first-level cache.
//
// group: integer
#define TIMES 5
#define BYTES (16 * 1024)
#define STEPS 100000007
#include "chase.h"
