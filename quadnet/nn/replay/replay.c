/* Replays recorded updates of training: the compiled part of quadnet.nn.replay.

   Plain C99, without headers of Python or NumPy: one library serves every version of both, and
   ctypes loads it. hatch_build.py compiles it where there is a C compiler. */

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT
#endif

/* The number of this interface, which library.py compares with its own. Increase both together
   whenever a signature or a structure changes. */
EXPORT int quadnet_replay_abi(void) { return 1; }
