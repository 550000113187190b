// Linked lists: built in scattered order, merge-sorted by key, reversed, filtered and summed.
//
// group: integer
#define TIMES 7
#include "bench.h"

#define NODES 2000
#define ROUNDS 600

struct node {
    struct node *next;
    u32 key, weight;
};

static struct node pool[NODES];

APART static struct node *merge(struct node *a, struct node *b) {
    struct node head, *tail = &head;
    while (a && b) {
        struct node **least = a->key <= b->key ? &a : &b;
        tail = tail->next = *least;
        *least = (*least)->next;
    }
    tail->next = a ? a : b;
    return head.next;
}

APART static struct node *sort(struct node *list) {
    if (!list || !list->next) return list;
    struct node *slow = list, *fast = list->next;
    while (fast && fast->next) slow = slow->next, fast = fast->next->next;
    struct node *second = slow->next;
    slow->next = NULL;
    return merge(sort(list), sort(second));
}

APART static struct node *reverse(struct node *list) {
    struct node *done = NULL;
    while (list) {
        struct node *next = list->next;
        list->next = done;
        done = list;
        list = next;
    }
    return done;
}

APART static struct node *drop_odd(struct node *list) {
    struct node **at = &list;
    while (*at) {
        if ((*at)->weight & 1) *at = (*at)->next;
        else at = &(*at)->next;
    }
    return list;
}

static struct node *build(void) {
    struct node *list = NULL;
    for (u32 i = 0; i < NODES; i++) {
        struct node *n = &pool[i * 733 % NODES]; // 733 and NODES have no common factor
        *n = (struct node){list, (u32)random_next(), i};
        list = n;
    }
    return list;
}

static u64 work(void) {
    u64 sum = 0;
    for (u32 round = 0; round < ROUNDS; round++) {
        u64 place = 0;
        struct node *list = drop_odd(reverse(sort(build())));
        for (struct node *n = list; n; n = n->next) sum += n->key * ++place;
        sum = mix(sum, place);
    }
    return sum;
}
