// The same as store_beside_code with the data in a page without code.
//
// group: own code
#define TIMES 2
#define DISTANCE 8192
#include "store.h"
