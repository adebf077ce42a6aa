/* The time of one pass of the singular value solver over a matrix, alone.
 * Include after twostep.h with TWOSTEP_IMPLEMENTATION. */
#ifndef TWOSTEP_BENCH_PASS_H
#define TWOSTEP_BENCH_PASS_H

/* Seconds of one fused pass W'(W v) for two vectors v at once: the best of some; -1: it failed. */
static double fused_pass(const tws_real *w, size_t n, unsigned threads, int repeats) {
    tws_context context = tws_default_context();
    twsi_svd svd;
    twsi_svd_output out;
    double best = -1;
    memset(&svd, 0, sizeof svd);
    memset(&out, 0, sizeof out);
    context.threads = threads;
    svd.context = &context;
    svd.matrix = w;
    svd.ld = svd.rows = svd.columns = n;
    svd.options = tws_default_svd_options(10);
    svd.unit = 1.0;
    twsi_pool_open(&svd.pool, &context);
    if (twsi_svd_prepare(&svd, &out) == TWS_OK &&
        twsi_team_open(&svd.team, &context, svd.chunks) == TWS_OK) {
        memset(svd.basis, 0, 2 * n * sizeof(double));
        while (repeats-- > 0) {
            double seconds = twsi_seconds();
            twsi_svd_multiply(&svd, svd.basis, 2, NULL, svd.work);
            seconds = twsi_seconds() - seconds;
            if (best < 0 || seconds < best) best = seconds;
        }
        twsi_team_close(&svd.team);
    }
    twsi_pool_close(&svd.pool);
    return best;
}

#endif /* TWOSTEP_BENCH_PASS_H */
