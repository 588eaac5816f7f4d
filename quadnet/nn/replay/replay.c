/*
 * Replays recorded updates of training: a list of calls of array loops, once for each mini-batch.
 *
 * A call is what NumPy does for one ufunc: its inner loop, the addresses of its operands, and the
 * steps from one value to the next. `recording.py` makes the list. Nothing here knows of layers,
 * losses or optimizers, and no header of Python or NumPy is needed: the inner loop's signature is
 * the one that NumPy documents for PyUFuncGenericFunction. hatch_build.py compiles this file where
 * there is a C compiler, and ctypes loads it.
 */
#include <stddef.h>
#include <string.h>

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#define MAX_OPERANDS 3
#define MAX_CORE_STEPS 6

typedef void (*inner_loop)(char **operands, const ptrdiff_t *counts, const ptrdiff_t *steps,
                           void *data);

/* An axis around the inner loop. */
struct axis {
    ptrdiff_t count;
    ptrdiff_t steps[MAX_OPERANDS];
};

/* `recording.py` has the same structure. */
struct call {
    inner_loop loop;
    void *data;
    char *operands[MAX_OPERANDS];  /* for mini-batch 0 */
    ptrdiff_t moves[MAX_OPERANDS]; /* bytes from one mini-batch to the next */
    ptrdiff_t counts[4];           /* of the inner loop, and its core dimensions */
    ptrdiff_t steps[MAX_OPERANDS + MAX_CORE_STEPS];
    ptrdiff_t n_axes;
    const struct axis *axes; /* the innermost last */
};

static void run_axes(const struct call *call, char **operands, ptrdiff_t depth)
{
    const struct axis *axis = call->axes + depth;
    char *here[MAX_OPERANDS];

    for (int i = 0; i < MAX_OPERANDS; i++)
        here[i] = operands[i];
    for (ptrdiff_t n = 0; n < axis->count; n++) {
        if (depth + 1 < call->n_axes) {
            run_axes(call, here, depth + 1);
        } else {
            /* A loop may change the addresses that it is given. */
            char *given[MAX_OPERANDS];
            memcpy(given, here, sizeof given);
            call->loop(given, call->counts, call->steps, call->data);
        }
        for (int i = 0; i < MAX_OPERANDS; i++)
            here[i] += axis->steps[i];
    }
}

/*
 * The number of this interface, which library.py compares with its own. Increase both together
 * whenever a signature or a structure changes.
 */
EXPORT int quadnet_replay_abi(void)
{
    return 1;
}

/* Make all calls for the mini-batches from `first` to before `stop`. */
EXPORT void quadnet_replay(const struct call *calls, ptrdiff_t n_calls, ptrdiff_t first,
                           ptrdiff_t stop)
{
    for (ptrdiff_t batch = first; batch < stop; batch++) {
        for (const struct call *call = calls; call < calls + n_calls; call++) {
            char *operands[MAX_OPERANDS];
            for (int i = 0; i < MAX_OPERANDS; i++)
                operands[i] = call->operands[i] + batch * call->moves[i];
            if (call->n_axes)
                run_axes(call, operands, 0);
            else
                call->loop(operands, call->counts, call->steps, call->data);
        }
    }
}

/* Loops that NumPy has no ufunc for: copies, and truth values as numbers. */
#define DEFINE_COPY(name, size)                                                                    \
    EXPORT void name(char **operands, const ptrdiff_t *counts, const ptrdiff_t *steps, void *data) \
    {                                                                                              \
        const char *from = operands[0];                                                            \
        char *to = operands[1];                                                                    \
        (void)data;                                                                                \
        for (ptrdiff_t i = 0; i < counts[0]; i++, from += steps[0], to += steps[1])                \
            memcpy(to, from, size);                                                                \
    }

#define DEFINE_CAST(name, type)                                                                    \
    EXPORT void name(char **operands, const ptrdiff_t *counts, const ptrdiff_t *steps, void *data) \
    {                                                                                              \
        const char *from = operands[0];                                                            \
        char *to = operands[1];                                                                    \
        (void)data;                                                                                \
        if (steps[0] == 1 && steps[1] == sizeof(type)) { /* for the compiler's vectors */          \
            for (ptrdiff_t i = 0; i < counts[0]; i++)                                              \
                ((type *)to)[i] = from[i] != 0;                                                    \
            return;                                                                                \
        }                                                                                          \
        for (ptrdiff_t i = 0; i < counts[0]; i++, from += steps[0], to += steps[1])                \
            *(type *)to = *from != 0;                                                              \
    }

DEFINE_COPY(quadnet_copy_1, 1)
DEFINE_COPY(quadnet_copy_4, 4)
DEFINE_COPY(quadnet_copy_8, 8)
DEFINE_CAST(quadnet_bool_to_float, float)
DEFINE_CAST(quadnet_bool_to_double, double)
