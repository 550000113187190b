// Reading a flattened device tree. The blob is trusted to be well-formed once its magic and version fit: the
// firmware that made it is the machine itself.
#include "fdt.h"
#include "lib.h"

enum { BEGIN_NODE = 1, END_NODE = 2, PROPERTY = 3, NOP = 4, END = 9 };

u64 fdt_cells(const u8 *data, u32 cells) {
    u64 v = 0;
    for (u32 i = 0; i < cells * 4; i++) v = v << 8 | data[i];
    return v;
}

static const u8 *align4(const u8 *p) { return (const u8 *)(((u64)p + 3) & ~3ul); }

u64 fdt_size(const void *blob) { return fdt_u32((const u8 *)blob + 4); }

int fdt_open(struct fdt_walk *walk, const void *blob) {
    const u8 *header = blob;
    if (!blob || ((u64)blob & 3) || fdt_u32(header) != 0xd00dfeed || fdt_u32(header + 24) > 17) return 0;
    walk->blob = header;
    walk->at = header + fdt_u32(header + 8);
    walk->end = header + fdt_u32(header + 4);
    walk->strings = (const char *)header + fdt_u32(header + 12);
    walk->depth = 0;
    walk->address_cells[0] = 2;
    walk->size_cells[0] = 1;
    return 1;
}

static const u8 *read_property(const struct fdt_walk *walk, const u8 *at, struct fdt_property *property) {
    property->length = fdt_u32(at + 4);
    property->name = walk->strings + fdt_u32(at + 8);
    property->data = at + 12;
    return align4(at + 12 + property->length);
}

int fdt_find(const struct fdt_walk *walk, const struct fdt_node *node, const char *name,
             struct fdt_property *property) {
    const u8 *at = node->properties;
    for (;;) {
        u32 token = fdt_u32(at);
        if (token == NOP) {
            at += 4;
        } else if (token == PROPERTY) {
            at = read_property(walk, at, property);
            if (!strcmp(property->name, name)) return 1;
        } else {
            return 0;
        }
    }
}

static u32 cells_or(const struct fdt_walk *walk, const struct fdt_node *node, const char *name, u32 otherwise) {
    struct fdt_property p;
    return fdt_find(walk, node, name, &p) && p.length == 4 ? fdt_u32(p.data) : otherwise;
}

int fdt_next(struct fdt_walk *walk, struct fdt_node *node) {
    while (walk->at < walk->end) {
        u32 token = fdt_u32(walk->at);
        struct fdt_property skipped;
        switch (token) {
        case PROPERTY: walk->at = read_property(walk, walk->at, &skipped); break;
        case END_NODE: walk->depth--; // fall through
        case NOP: walk->at += 4; break;
        case BEGIN_NODE: {
            u32 depth = walk->depth;
            if (depth >= FDT_DEPTH) return 0;
            node->name = (const char *)walk->at + 4;
            node->depth = depth;
            node->address_cells = walk->address_cells[depth];
            node->size_cells = walk->size_cells[depth];
            node->properties = walk->at = align4(walk->at + 4 + strlen(node->name) + 1);
            walk->depth = depth + 1;
            walk->address_cells[depth + 1] = cells_or(walk, node, "#address-cells", 2);
            walk->size_cells[depth + 1] = cells_or(walk, node, "#size-cells", 1);
            return 1;
        }
        default: return 0;
        }
    }
    return 0;
}

int fdt_reg(const struct fdt_walk *walk, const struct fdt_node *node, u32 index, u64 *address, u64 *size) {
    struct fdt_property reg;
    u32 entry = (node->address_cells + node->size_cells) * 4;
    if (!fdt_find(walk, node, "reg", &reg) || reg.length < (index + 1) * entry) return 0;
    *address = fdt_cells(reg.data + index * entry, node->address_cells);
    *size = fdt_cells(reg.data + index * entry + node->address_cells * 4, node->size_cells);
    return 1;
}

int fdt_list_has(const struct fdt_property *property, const char *text) {
    const char *s = (const char *)property->data, *end = s + property->length;
    for (; s < end; s += strlen(s) + 1)
        if (!strcmp(s, text)) return 1;
    return 0;
}
