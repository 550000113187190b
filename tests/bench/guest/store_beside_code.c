// Data that is written in the page of the code that writes it.
//
// group: own code
#define TIMES 2
#define DISTANCE 1024
#include "store.h"
