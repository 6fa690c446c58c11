/* The hit of a plain function in the process: from the caller's arguments to the value, without a frame of Python.

   What it must answer is written in Python: the look-up that `memocache._calls.signature` compiles is the specification,
   and what this file does not know it leaves to it (`Hit.slow`). It knows calls whose arguments are all plain scalars (of
   exactly these types: int, str, bytes, bool, float, None) and whose entry is fresh. No code of the user's runs while it
   looks: scalars hash and compare in C. Only a clock that is not Python's own, and the copy that a hit is given, may run
   any; and cyclic garbage may be collected where an object is made. Each such place says what it holds meanwhile.

   An entry leaves its table in many ways (eviction, expiry, invalidation, replacement), and none of them knows this
   file. One field tells them all: `fresh_until`, which is minus infinity from the moment that an entry is gone. The
   index of a `Hit` borrows its entries. It keeps none alive: an entry that dies takes itself out.

   All of it runs under the global lock, which is let go of nowhere between the last look at `fresh_until` and the
   count: so hits are exact, as in Python. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <math.h>
#include <stdint.h>
#ifdef __linux__
#include <time.h>
#endif

#define MOST_PARAMETERS 8
#define FIRST_SLOTS 8

typedef struct Entry Entry;

/* ---- The index: the entries that a function's calls were served from, by a hash of values and types. Open addressing
   with linear probing; at most two thirds are taken, so a probe always ends at an empty slot. */
typedef struct {
    Entry **slots;
    size_t mask; /* the number of slots, a power of two, less one */
    size_t used;
} Index;

/* ---- A Hit: how the calls of one function are looked up in one cache. It never changes once made but in its index;
   another cache, clock or signature is another Hit. */
typedef struct {
    PyObject_HEAD
    PyObject *slow;     /* the compiled look-up */
    PyObject *entries;  /* the dict of its table: key to Entry */
    PyObject *names;    /* of the parameters, None where one cannot be passed by name */
    PyObject *defaults; /* of the parameters, ABSENT where there is none */
    PyObject *off;      /* the context variable that switches caching off */
    PyObject *clock;    /* None: Python's own monotonic clock */
    Py_ssize_t positional;
    Index index;
} Hit;

/* ---- An Entry: what a hit reads and counts, as C values. `memocache._stores.entry.Entry` adds the rest in Python. It
   is in the index of one Hit at most (`home`, borrowed as well). */
struct Entry {
    PyObject_HEAD
    double fresh_until, ttl;
    double last; /* not a number: there was no hit yet */
    Py_ssize_t hits, rank, micros;
    PyObject *value, *thaw, *key, *table;
    Hit *home;
    size_t hash;
};

static PyTypeObject EntryType, HitType;
static PyObject *ABSENT;      /* stands for the default of a parameter that has none */
static PyObject *COPY_LIST;   /* `list.copy` and its like: what a hit's own copy is made by where that is all it takes */
static PyObject *COPY_DICT;
static size_t SEED;           /* of this process: nobody outside can make arguments that meet in one slot */

/* ---- Index */

static inline size_t mixed(size_t h, size_t more) {
    uint64_t x = ((uint64_t)h ^ (uint64_t)more) * 0x9E3779B97F4A7C15ULL;
    return (size_t)(x ^ (x >> 32));
}

static int index_init(Index *index) {
    index->slots = PyMem_Calloc(FIRST_SLOTS, sizeof(Entry *));
    index->mask = FIRST_SLOTS - 1;
    index->used = 0;
    if (index->slots == NULL) { PyErr_NoMemory(); return -1; }
    return 0;
}

static void index_place(Index *index, Entry *entry) {
    size_t at = entry->hash & index->mask;
    while (index->slots[at] != NULL) at = (at + 1) & index->mask;
    index->slots[at] = entry;
    index->used++;
}

/* Where there is no memory for more slots the entry stays out: it is found by the dict. */
static void index_add(Hit *hit, Entry *entry) {
    Index *index = &hit->index;
    if (index->slots == NULL) return;
    if ((index->used + 1) * 3 > (index->mask + 1) * 2) {
        size_t more = (index->mask + 1) * 2;
        Entry **slots = PyMem_Calloc(more, sizeof(Entry *));
        if (slots == NULL) return;
        Index grown = {slots, more - 1, 0};
        for (size_t i = 0; i <= index->mask; i++)
            if (index->slots[i] != NULL) index_place(&grown, index->slots[i]);
        PyMem_Free(index->slots);
        *index = grown;
    }
    index_place(index, entry);
    entry->home = hit;
}

/* Those behind the removed one move up, as far as their own first slot allows: no gap parts an entry from its slot. */
static void index_remove(Entry *entry) {
    Index *index = &entry->home->index;
    size_t mask = index->mask, gap = entry->hash & mask;
    while (index->slots[gap] != entry) gap = (gap + 1) & mask;
    for (size_t at = (gap + 1) & mask; index->slots[at] != NULL; at = (at + 1) & mask) {
        size_t first = index->slots[at]->hash & mask;
        if (((at - first) & mask) >= ((at - gap) & mask)) {
            index->slots[gap] = index->slots[at];
            gap = at;
        }
    }
    index->slots[gap] = NULL;
    index->used--;
    entry->home = NULL;
}

static void index_forget(Index *index) {
    if (index->slots == NULL) return;
    for (size_t i = 0; i <= index->mask; i++)
        if (index->slots[i] != NULL) index->slots[i]->home = NULL;
    PyMem_Free(index->slots);
    index->slots = NULL;
    index->used = 0;
}

/* ---- Entry */

static PyObject *entry_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    Entry *entry = (Entry *)type->tp_alloc(type, 0);
    if (entry != NULL) entry->last = Py_NAN;
    return (PyObject *)entry;
}

static int entry_traverse(Entry *entry, visitproc visit, void *arg) {
    Py_VISIT(entry->value);
    Py_VISIT(entry->thaw);
    Py_VISIT(entry->key);
    Py_VISIT(entry->table);
    return 0;
}

/* Its key is what the index compares, so it leaves the index before its key. */
static int entry_clear(Entry *entry) {
    if (entry->home != NULL) index_remove(entry);
    Py_CLEAR(entry->value);
    Py_CLEAR(entry->thaw);
    Py_CLEAR(entry->key);
    Py_CLEAR(entry->table);
    return 0;
}

static void entry_dealloc(Entry *entry) {
    PyObject_GC_UnTrack(entry);
    entry_clear(entry);
    Py_TYPE(entry)->tp_free((PyObject *)entry);
}

static PyObject *entry_last(Entry *entry, void *closure) {
    if (isnan(entry->last)) Py_RETURN_NONE;
    return PyFloat_FromDouble(entry->last);
}

static int entry_set_last(Entry *entry, PyObject *value, void *closure) {
    double last = value == NULL || value == Py_None ? Py_NAN : PyFloat_AsDouble(value);
    if (last == -1.0 && PyErr_Occurred()) return -1;
    entry->last = last;
    return 0;
}

static PyObject *entry_key(Entry *entry, void *closure) {
    if (entry->key == NULL) { PyErr_SetString(PyExc_AttributeError, "key"); return NULL; }
    return Py_NewRef(entry->key);
}

static int entry_set_key(Entry *entry, PyObject *value, void *closure) {
    if (entry->home != NULL) index_remove(entry);
    PyObject *old = entry->key;
    entry->key = Py_XNewRef(value);
    Py_XDECREF(old);
    return 0;
}

static PyMemberDef entry_members[] = {
    {"fresh_until", T_DOUBLE, offsetof(Entry, fresh_until)},
    {"ttl", T_DOUBLE, offsetof(Entry, ttl)},
    {"hits", T_PYSSIZET, offsetof(Entry, hits)},
    {"rank", T_PYSSIZET, offsetof(Entry, rank)},
    {"micros", T_PYSSIZET, offsetof(Entry, micros)},
    {"value", T_OBJECT_EX, offsetof(Entry, value)},
    {"thaw", T_OBJECT_EX, offsetof(Entry, thaw)},
    {"table", T_OBJECT_EX, offsetof(Entry, table)},
    {NULL}};

static PyGetSetDef entry_getset[] = {
    {"last", (getter)entry_last, (setter)entry_set_last},
    {"key", (getter)entry_key, (setter)entry_set_key},
    {NULL}};

static PyTypeObject EntryType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "memocache._runtime._native_hit.EntryFields",
    .tp_basicsize = sizeof(Entry),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_new = entry_new,
    .tp_dealloc = (destructor)entry_dealloc,
    .tp_traverse = (traverseproc)entry_traverse,
    .tp_clear = (inquiry)entry_clear,
    .tp_members = entry_members,
    .tp_getset = entry_getset,
};

/* ---- The look-up */

/* The values of a call, one a parameter, borrowed from the caller and from `hit`. 0: it is no call this file knows, which
   may be one that the function would refuse. */
static int bind(Hit *hit, PyObject *const *args, Py_ssize_t given, PyObject *kwnames, PyObject **values) {
    Py_ssize_t all = PyTuple_GET_SIZE(hit->names);
    if (given > hit->positional) return 0;
    for (Py_ssize_t i = 0; i < given; i++) values[i] = args[i];
    if (given == all) return kwnames == NULL || PyTuple_GET_SIZE(kwnames) == 0;
    for (Py_ssize_t i = given; i < all; i++) values[i] = NULL;
    Py_ssize_t named = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t k = 0; k < named; k++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, k);
        Py_ssize_t i = given;
        /* names in source are interned, so the same text is the same object; where it is not, the Python look-up knows */
        while (i < all && PyTuple_GET_ITEM(hit->names, i) != name) i++;
        if (i == all || values[i] != NULL) return 0;
        values[i] = args[given + k];
    }
    for (Py_ssize_t i = given; i < all; i++) {
        if (values[i] != NULL) continue;
        values[i] = PyTuple_GET_ITEM(hit->defaults, i);
        if (values[i] == ABSENT) return 0;
    }
    return 1;
}

/* A hash of values and types, or 0 where one of them is no plain scalar. */
static size_t hashed(PyObject **values, Py_ssize_t all) {
    size_t h = SEED;
    for (Py_ssize_t i = 0; i < all; i++) {
        PyTypeObject *type = Py_TYPE(values[i]);
        if (type != &PyLong_Type && type != &PyUnicode_Type && type != &PyBool_Type && type != &PyFloat_Type &&
            type != &PyBytes_Type && values[i] != Py_None)
            return 0;
        h = mixed(h ^ ((uintptr_t)type >> 4), (size_t)type->tp_hash(values[i]));
    }
    return h | 1;
}

/* Whether an entry's key is these values and their types. Those of an entry in an index are scalars. */
static int same(Entry *entry, PyObject **values, Py_ssize_t all) {
    for (Py_ssize_t i = 0; i < all; i++) {
        PyObject *kept = PyTuple_GET_ITEM(entry->key, i), *value = values[i];
        if (PyTuple_GET_ITEM(entry->key, all + i) != (PyObject *)Py_TYPE(value)) return 0;
        if (kept != value && PyObject_RichCompareBool(kept, value, Py_EQ) != 1) return 0;
    }
    return 1;
}

static Entry *in_index(Hit *hit, size_t hash, PyObject **values, Py_ssize_t all) {
    Index *index = &hit->index;
    if (index->slots == NULL) return NULL;
    for (size_t at = hash & index->mask; index->slots[at] != NULL; at = (at + 1) & index->mask) {
        Entry *entry = index->slots[at];
        if (entry->hash != hash || !same(entry, values, all)) continue;
        if (entry->fresh_until > -Py_HUGE_VAL) return entry;
        index_remove(entry); /* it left its table, and something still holds it: its follower is found in the dict */
        return NULL;
    }
    return NULL;
}

/* The entry under the very key that the compiled look-up would make, borrowed from the dict. Garbage may be collected
   where the key is made, before the dict is asked; `hit` and the values are held by the caller. */
static Entry *in_dict(Hit *hit, size_t hash, PyObject **values, Py_ssize_t all) {
    PyObject *key = PyTuple_New(2 * all);
    if (key == NULL) { PyErr_Clear(); return NULL; }
    for (Py_ssize_t i = 0; i < all; i++) {
        PyTuple_SET_ITEM(key, i, Py_NewRef(values[i]));
        PyTuple_SET_ITEM(key, all + i, Py_NewRef(Py_TYPE(values[i])));
    }
    PyObject *found = PyDict_GetItemWithError(hit->entries, key);
    Py_DECREF(key);
    if (found == NULL) { PyErr_Clear(); return NULL; }
    if (!PyObject_TypeCheck(found, &EntryType)) return NULL;
    Entry *entry = (Entry *)found;
    if (entry->home == NULL && entry->key != NULL && PyTuple_CheckExact(entry->key) &&
        PyTuple_GET_SIZE(entry->key) == 2 * all && same(entry, values, all)) {
        entry->hash = hash;
        index_add(hit, entry);
    }
    return entry;
}

/* The time as `time.monotonic` tells it. */
static int told(PyObject *clock, double *now) {
#ifdef __linux__
    if (clock == Py_None) {
        struct timespec ts;
        if (clock_gettime(CLOCK_MONOTONIC, &ts) == 0) {
            *now = (double)((int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec) / 1e9;
            return 0;
        }
    }
#endif
    PyObject *time = PyObject_CallNoArgs(clock);
    if (time == NULL) return -1;
    *now = PyFloat_AsDouble(time);
    Py_DECREF(time);
    return *now == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* A hit's own copy. The value is held by the caller. */
static PyObject *copied(PyObject *thaw, PyObject *value) {
    if (thaw == COPY_LIST && PyList_CheckExact(value)) return PyList_GetSlice(value, 0, PyList_GET_SIZE(value));
    if (thaw == COPY_DICT && PyDict_CheckExact(value)) return PyDict_Copy(value);
    return PyObject_CallOneArg(thaw, value);
}

/* The value that a call is served, counted as a hit; NULL without an error: the Python look-up is asked. */
static PyObject *served(Hit *hit, PyObject *const *args, Py_ssize_t given, PyObject *kwnames) {
    PyObject *values[MOST_PARAMETERS], *disabled;
    Py_ssize_t all = PyTuple_GET_SIZE(hit->names);
    if (!bind(hit, args, given, kwnames, values)) return NULL;
    size_t hash = hashed(values, all);
    if (hash == 0) return NULL;
    if (PyContextVar_Get(hit->off, NULL, &disabled) < 0) return NULL;
    int on = disabled == Py_None;
    Py_XDECREF(disabled);
    if (!on) return NULL;
    Entry *entry = in_index(hit, hash, values, all);
    if (entry == NULL) entry = in_dict(hit, hash, values, all);
    if (entry == NULL) return NULL;
    double now;
    Py_INCREF(entry); /* the clock may be anybody's code */
    int failed = told(hit->clock, &now);
    if (failed || !(entry->fresh_until > now)) { Py_DECREF(entry); return NULL; }
    entry->hits++;
    entry->last = now;
    PyObject *thaw = Py_XNewRef(entry->thaw), *value = Py_XNewRef(entry->value);
    Py_DECREF(entry);
    if (thaw != NULL && thaw != Py_None && value != NULL) Py_SETREF(value, copied(thaw, value));
    Py_XDECREF(thaw);
    return value;
}

static PyObject *hit_call(Hit *hit, PyObject *const *args, size_t flagged, PyObject *kwnames) {
    Py_INCREF(hit); /* whatever runs meanwhile may bind the function anew */
    PyObject *result = served(hit, args, PyVectorcall_NARGS(flagged), kwnames);
    if (result == NULL && !PyErr_Occurred()) result = PyObject_Vectorcall(hit->slow, args, flagged, kwnames);
    Py_DECREF(hit);
    return result;
}

/* ---- Hit */

static PyObject *hit_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *parameters[] = {"slow", "entries", "names", "positional", "defaults", "off", "clock", NULL};
    PyObject *slow, *entries, *names, *defaults, *off, *clock;
    Py_ssize_t positional;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!O!nO!O!O", parameters, &slow, &PyDict_Type, &entries,
                                     &PyTuple_Type, &names, &positional, &PyTuple_Type, &defaults,
                                     &PyContextVar_Type, &off, &clock))
        return NULL;
    Py_ssize_t all = PyTuple_GET_SIZE(names);
    if (all > MOST_PARAMETERS || PyTuple_GET_SIZE(defaults) != all || positional < 0 || positional > all) {
        PyErr_SetString(PyExc_ValueError, "a Hit takes at most 8 parameters, and a default for each");
        return NULL;
    }
#ifndef __linux__
    if (clock == Py_None) { PyErr_SetString(PyExc_ValueError, "clock= takes a callable on this platform"); return NULL; }
#endif
    Hit *hit = (Hit *)type->tp_alloc(type, 0);
    if (hit == NULL) return NULL;
    hit->slow = Py_NewRef(slow);
    hit->entries = Py_NewRef(entries);
    hit->names = Py_NewRef(names);
    hit->defaults = Py_NewRef(defaults);
    hit->off = Py_NewRef(off);
    hit->clock = Py_NewRef(clock);
    hit->positional = positional;
    if (index_init(&hit->index) < 0) { Py_DECREF(hit); return NULL; }
    return (PyObject *)hit;
}

static int hit_traverse(Hit *hit, visitproc visit, void *arg) {
    Py_VISIT(hit->slow);
    Py_VISIT(hit->entries);
    Py_VISIT(hit->defaults);
    Py_VISIT(hit->clock);
    return 0;
}

/* Whoever calls a Hit holds it, and so do the garbage collector's rules: one that is cleared is called no more. */
static int hit_clear(Hit *hit) {
    index_forget(&hit->index);
    Py_CLEAR(hit->slow);
    Py_CLEAR(hit->entries);
    Py_CLEAR(hit->defaults);
    Py_CLEAR(hit->clock);
    return 0;
}

static void hit_dealloc(Hit *hit) {
    PyObject_GC_UnTrack(hit);
    hit_clear(hit);
    Py_CLEAR(hit->names);
    Py_CLEAR(hit->off);
    Py_TYPE(hit)->tp_free((PyObject *)hit);
}

static PyObject *hit_indexed(Hit *hit, void *closure) { return PyLong_FromSize_t(hit->index.used); }

static PyGetSetDef hit_getset[] = {{"indexed", (getter)hit_indexed, NULL, "How many entries are in the index."}, {NULL}};

static PyTypeObject HitType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "memocache._runtime._native_hit.Hit",
    .tp_basicsize = sizeof(Hit),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = hit_new,
    .tp_dealloc = (destructor)hit_dealloc,
    .tp_traverse = (traverseproc)hit_traverse,
    .tp_clear = (inquiry)hit_clear,
    .tp_getset = hit_getset,
};

/* ---- The callable: the base class of decorated functions, over the class that `callable_over` is given. It adds one C
   pointer to each instance, by which the interpreter calls it, and no object: those of an instance are its own class's,
   which knows how to let go of them. The Hit is in a slot of a Python class (`_self_hit`), at `hit_at`. */

static Py_ssize_t call_at, hit_at = -1;

static PyObject *callable_call(PyObject *self, PyObject *const *args, size_t flagged, PyObject *kwnames) {
    PyObject *hit = *(PyObject **)((char *)self + hit_at);
    if (hit != NULL && Py_IS_TYPE(hit, &HitType) && ((Hit *)hit)->slow != NULL)
        return hit_call((Hit *)hit, args, flagged, kwnames);
    /* the garbage collector has cleared it: as any object with a `__call__` is called */
    PyObject *positional = PyTuple_New(PyVectorcall_NARGS(flagged)), *named = NULL, *result = NULL;
    if (positional == NULL) return NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(positional); i++) PyTuple_SET_ITEM(positional, i, Py_NewRef(args[i]));
    if (kwnames != NULL) {
        if ((named = PyDict_New()) == NULL) goto done;
        for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(kwnames); k++)
            if (PyDict_SetItem(named, PyTuple_GET_ITEM(kwnames, k), args[PyTuple_GET_SIZE(positional) + k]) < 0) goto done;
    }
    result = Py_TYPE(self)->tp_call(self, positional, named);
done:
    Py_DECREF(positional);
    Py_XDECREF(named);
    return result;
}

static PyObject *callable_over(PyObject *module, PyObject *given) {
    if (!PyType_Check(given)) { PyErr_SetString(PyExc_TypeError, "callable_over() takes a class"); return NULL; }
    PyTypeObject *base = (PyTypeObject *)given;
    if (call_at || base->tp_itemsize || base->tp_basicsize % sizeof(void *)) {
        PyErr_SetString(PyExc_TypeError, "callable_over() takes one class, whose instances are of one size");
        return NULL;
    }
    call_at = base->tp_basicsize;
    PyMemberDef members[] = {{"__vectorcalloffset__", T_PYSSIZET, call_at, READONLY}, {NULL}};
    PyType_Slot slots[] = {{Py_tp_members, members}, {0, NULL}};
    PyType_Spec spec = {"memocache._runtime._native_hit.Callable", (int)(call_at + sizeof(vectorcallfunc)), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
    return PyType_FromSpecWithBases(&spec, given);
}

/* arm(callable, hit): its calls are looked up by `hit` first; by None they are again what its class says. The slot holds
   the Hit before the pointer tells of it, and after. */
static PyObject *arm(PyObject *module, PyObject *args) {
    PyObject *callable, *hit;
    if (!PyArg_ParseTuple(args, "OO", &callable, &hit)) return NULL;
    PyTypeObject *type = Py_TYPE(callable);
    if (hit != Py_None && !Py_IS_TYPE(hit, &HitType)) { PyErr_SetString(PyExc_TypeError, "arm() takes a Hit"); return NULL; }
    if (!call_at || type->tp_vectorcall_offset != call_at) { PyErr_SetString(PyExc_TypeError, "arm() takes a Callable"); return NULL; }
    if (hit_at < 0) {
        PyObject *slot = PyObject_GetAttrString((PyObject *)type, "_self_hit");
        if (slot == NULL) return NULL;
        int is_slot = Py_IS_TYPE(slot, &PyMemberDescr_Type) && ((PyMemberDescrObject *)slot)->d_member->type == T_OBJECT_EX;
        if (is_slot) hit_at = ((PyMemberDescrObject *)slot)->d_member->offset;
        Py_DECREF(slot);
        if (!is_slot) { PyErr_SetString(PyExc_TypeError, "_self_hit must be a slot"); return NULL; }
    }
    PyObject **held = (PyObject **)((char *)callable + hit_at), *old = *held;
    vectorcallfunc *call = (vectorcallfunc *)((char *)callable + call_at);
    *held = hit == Py_None ? NULL : Py_NewRef(hit);
    *call = hit == Py_None ? NULL : callable_call;
    if (hit != Py_None && !PyType_HasFeature(type, Py_TPFLAGS_HAVE_VECTORCALL)) {
        type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL; /* Python does not give it to classes with a `__call__` of their own */
        PyType_Modified(type);
    }
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {{"arm", arm, METH_VARARGS}, {"callable_over", callable_over, METH_O}, {NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native_hit", NULL, -1, functions};

PyMODINIT_FUNC PyInit__native_hit(void) {
    if (PyType_Ready(&EntryType) < 0 || PyType_Ready(&HitType) < 0) return NULL;
    PyObject *module = PyModule_Create(&definition), *text = PyUnicode_FromString("memocache");
    ABSENT = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type);
    COPY_LIST = PyObject_GetAttrString((PyObject *)&PyList_Type, "copy");
    COPY_DICT = PyObject_GetAttrString((PyObject *)&PyDict_Type, "copy");
    if (module == NULL || text == NULL || ABSENT == NULL || COPY_LIST == NULL || COPY_DICT == NULL) return NULL;
    SEED = (size_t)PyObject_Hash(text);
    Py_DECREF(text);
    if (PyModule_AddObjectRef(module, "EntryFields", (PyObject *)&EntryType) < 0 ||
        PyModule_AddObjectRef(module, "Hit", (PyObject *)&HitType) < 0 ||
        PyModule_AddObjectRef(module, "ABSENT", ABSENT) < 0 ||
        PyModule_AddStringConstant(module, "SOURCE", SOURCE_DIGEST) < 0)
        return NULL;
    return module;
}
