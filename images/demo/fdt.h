// Reading a flattened device tree (Devicetree Specification 0.4, chapter 5).
#pragma once
#include "riscv.h"

#define FDT_DEPTH 8

struct fdt_property {
    const char *name;
    const u8 *data;
    u32 length;
};

// A node while `fdt_next` stands on it.
struct fdt_node {
    const char *name;    // with unit address, "" for the root
    u32 depth;           // 0 for the root
    u32 address_cells;   // that hold for this node's `reg`
    u32 size_cells;
    const u8 *properties;
};

struct fdt_walk {
    const u8 *blob, *at, *end;
    const char *strings;
    u32 depth;
    u32 address_cells[FDT_DEPTH + 1], size_cells[FDT_DEPTH + 1]; // by depth of the parent + 1
};

// False if `blob` is no device tree.
int fdt_open(struct fdt_walk *walk, const void *blob);
u64 fdt_size(const void *blob);
// The next node in document order; false at the end.
int fdt_next(struct fdt_walk *walk, struct fdt_node *node);
// A property of the node that fdt_next returned last.
int fdt_find(const struct fdt_walk *walk, const struct fdt_node *node, const char *name,
             struct fdt_property *property);
// Entry `index` of a `reg`.
int fdt_reg(const struct fdt_walk *walk, const struct fdt_node *node, u32 index, u64 *address, u64 *size);

u64 fdt_cells(const u8 *data, u32 cells);
static inline u32 fdt_u32(const u8 *data) { return (u32)fdt_cells(data, 1); }
// Whether a property that is a list of strings has `text` among them.
int fdt_list_has(const struct fdt_property *property, const char *text);
