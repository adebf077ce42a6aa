/* The time of one pass of the singular value solver over a matrix, alone.
 * Include after twostep.h with TWOSTEP_IMPLEMENTATION. */
#ifndef TWOSTEP_BENCH_PASS_H
#define TWOSTEP_BENCH_PASS_H

/* Seconds of one fused pass W'(W V) for a block V of two vectors, in the precision of the matrix:
   the best of some; -1: it failed. */
static double fused_pass(const tws_real *w, size_t n, unsigned threads, int repeats) {
    tws_context context = tws_default_context();
    twsi_pool pool;
    twsi_team team;
    twsi_svd svd;
    twsi_svd_output out;
    twsi_svd_round round;
    double best = -1;
    context.threads = threads;
    memset(&out, 0, sizeof out);
    twsi_pool_open(&pool, &context);
    twsi_team_clear(&team);
    twsi_svd_open(&svd, &context, &pool, NULL, n, n);
    svd.matrix = w;
    svd.ld = n;
    svd.team = &team;
    svd.unit = 1.0;
    twsi_svd_divide(&svd);
    if (twsi_svd_prepare(&svd, &out) == TWS_OK &&
        twsi_team_open(&team, &context, svd.chunks) == TWS_OK) {
        twsi_svd_begin(&svd, 0, svd.width);
        round.svd = &svd;
        round.count = 1;
        round.segments = twsi_ceil_div(n, TWSI_SVD_SEGMENT);
        while (repeats-- > 0) {
            double seconds = twsi_seconds();
            twsi_svd_multiply_fast(&round);
            seconds = twsi_seconds() - seconds;
            if (best < 0 || seconds < best) best = seconds;
        }
    }
    twsi_team_close(&team);
    twsi_pool_close(&pool);
    return best;
}

#endif /* TWOSTEP_BENCH_PASS_H */
