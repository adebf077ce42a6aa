/* The single-precision matrix product of other libraries, opened when the bench runs, so that it
 * builds without them: OpenBLAS, BLIS and oneDNN. A library that is not there is named and skipped.
 * Each is used at its best: OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are taken out of the environment
 * so that OpenBLAS looks at the machine, and where BLIS knows the processor only as generic it is
 * given its AVX-512 or Haswell kernels. */
#ifndef TWOSTEP_BENCH_BLAS_H
#define TWOSTEP_BENCH_BLAS_H

#include <dlfcn.h>

/* C = op(A) op(B), row-major, leading dimensions without gaps. */
typedef void (*sgemm_call)(int ta, int tb, size_t m, size_t n, size_t k, const float *a,
                           const float *b, float *c);

typedef struct blas_peer {
    const char *name;
    int (*open)(struct blas_peer *peer); /* 1: usable, and kernel is filled */
    void (*set_threads)(int threads);
    sgemm_call multiply;
    char kernel[160]; /* version and what it chose for this machine */
} blas_peer;

typedef void (*cblas_sgemm_call)(int order, int ta, int tb, int m, int n, int k, float alpha,
                                 const float *a, int lda, const float *b, int ldb, float beta,
                                 float *c, int ldc);
typedef int (*dnnl_sgemm_call)(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha,
                               const float *a, int64_t lda, const float *b, int64_t ldb, float beta,
                               float *c, int64_t ldc);
typedef char *(*text_call)(void);
typedef int (*number_call)(void);
typedef void (*threads_call)(int threads);

/* ISO C has no cast from an object pointer to a function pointer; POSIX promises that it works. */
#define BLAS_FIND(library, name, variable)                                                         \
    do {                                                                                           \
        void *found_ = dlsym(library, name);                                                       \
        memcpy(&(variable), &found_, sizeof found_);                                               \
    } while (0)

static cblas_sgemm_call openblas_sgemm, blis_sgemm;
static dnnl_sgemm_call dnnl_sgemm;
static threads_call openblas_threads, blis_threads, dnnl_threads;

static void cblas_multiply(cblas_sgemm_call call, int ta, int tb, size_t m, size_t n, size_t k,
                           const float *a, const float *b, float *c) {
    call(101, ta ? 112 : 111, tb ? 112 : 111, (int)m, (int)n, (int)k, 1, a, (int)(ta ? m : k), b,
         (int)(tb ? k : n), 0, c, (int)n);
}

static void openblas_multiply(int ta, int tb, size_t m, size_t n, size_t k, const float *a,
                              const float *b, float *c) {
    cblas_multiply(openblas_sgemm, ta, tb, m, n, k, a, b, c);
}

static int openblas_open(blas_peer *peer) {
    void *library;
    text_call config = NULL;
    unsetenv("OPENBLAS_CORETYPE");
    unsetenv("OPENBLAS_L2_SIZE");
    library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return 0;
    BLAS_FIND(library, "cblas_sgemm", openblas_sgemm);
    BLAS_FIND(library, "openblas_set_num_threads", openblas_threads);
    BLAS_FIND(library, "openblas_get_config", config);
    peer->multiply = openblas_multiply;
    peer->set_threads = openblas_threads;
    if (config != NULL) snprintf(peer->kernel, sizeof peer->kernel, "%s", config());
    return openblas_sgemm != NULL && openblas_threads != NULL;
}

static void blis_multiply(int ta, int tb, size_t m, size_t n, size_t k, const float *a,
                          const float *b, float *c) {
    cblas_multiply(blis_sgemm, ta, tb, m, n, k, a, b, c);
}

/* The numbers of the architectures are those of BLIS 0.9. */
static int blis_open(blas_peer *peer) {
    void *library = dlopen("libblis.so.4", RTLD_NOW | RTLD_LOCAL);
    number_call architecture = NULL;
    void (*start)(void) = NULL;
    text_call version = NULL;
    char *(*text)(int) = NULL;
    const char *chosen;
    if (library == NULL) return 0;
    BLAS_FIND(library, "cblas_sgemm", blis_sgemm);
    BLAS_FIND(library, "bli_thread_set_num_threads", blis_threads);
    BLAS_FIND(library, "bli_arch_query_id", architecture);
    BLAS_FIND(library, "bli_arch_string", text);
    BLAS_FIND(library, "bli_info_get_version_str", version);
    BLAS_FIND(library, "bli_init", start);
    if (!blis_sgemm || !blis_threads || !architecture || !text || !version || !start) return 0;
    chosen = tws_kernel_available(TWS_KERNEL_AVX512) ? "0"
             : tws_kernel_available(TWS_KERNEL_AVX2) ? "3"
                                                     : NULL;
    if (chosen != NULL && getenv("BLIS_ARCH_TYPE") == NULL) setenv("BLIS_ARCH_TYPE", chosen, 1);
    start();
    peer->multiply = blis_multiply;
    peer->set_threads = blis_threads;
    snprintf(peer->kernel, sizeof peer->kernel, "BLIS %s, %s kernels%s", version(),
             text(architecture()), chosen != NULL ? " (told so; alone it may take generic ones)" : "");
    return 1;
}

static void dnnl_multiply(int ta, int tb, size_t m, size_t n, size_t k, const float *a,
                          const float *b, float *c) {
    dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', (int64_t)m, (int64_t)n, (int64_t)k, 1, a,
               (int64_t)(ta ? m : k), b, (int64_t)(tb ? k : n), 0, c, (int64_t)n);
}

static int dnnl_open(blas_peer *peer) {
    void *library = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_GLOBAL);
    void *openmp = dlopen("libgomp.so.1", RTLD_NOW | RTLD_GLOBAL);
    const int *(*version)(void) = NULL; /* begins with major, minor, patch */
    int (*isa)(void) = NULL;
    if (library == NULL || openmp == NULL) return 0;
    BLAS_FIND(library, "dnnl_sgemm", dnnl_sgemm);
    BLAS_FIND(library, "dnnl_version", version);
    BLAS_FIND(library, "dnnl_get_effective_cpu_isa", isa);
    BLAS_FIND(openmp, "omp_set_num_threads", dnnl_threads);
    if (!dnnl_sgemm || !dnnl_threads || !version || !isa) return 0;
    peer->multiply = dnnl_multiply;
    peer->set_threads = dnnl_threads;
    snprintf(peer->kernel, sizeof peer->kernel, "oneDNN %d.%d.%d, ISA 0x%x%s", version()[0],
             version()[1], version()[2], (unsigned)isa(), (isa() & 0x20) ? " (AVX-512)" : "");
    return 1;
}

static blas_peer blas_peers[] = {
    {"OpenBLAS", openblas_open, NULL, NULL, ""},
    {"BLIS", blis_open, NULL, NULL, ""},
    {"oneDNN", dnnl_open, NULL, NULL, ""},
};
#define BLAS_PEERS ((int)(sizeof blas_peers / sizeof blas_peers[0]))

/* Opens all that are there; the others keep multiply NULL. */
static void open_blas_peers(void) {
    int i;
    for (i = 0; i < BLAS_PEERS; i++) {
        blas_peer *peer = &blas_peers[i];
        if (peer->open(peer)) {
            printf("%-9s %s\n", peer->name, peer->kernel);
        } else {
            peer->multiply = NULL;
            printf("%-9s skipped: not installed (sh bench/peers/install.sh)\n", peer->name);
        }
    }
}

#endif /* TWOSTEP_BENCH_BLAS_H */
