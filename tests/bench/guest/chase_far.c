// Pointer chase through far more memory than caches and translation buffers hold.
//
// group: integer
#define TIMES 1
#define BYTES (64 * 1024 * 1024)
#define STEPS 4000000
#include "chase.h"
