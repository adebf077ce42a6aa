/* Part of the programs of this folder, after twostep.c: their --help. */

static int is_help(int count, char **arguments) {
    int i;
    for (i = 1; i < count; i++)
        if (strcmp(arguments[i], "--help") == 0 || strcmp(arguments[i], "-h") == 0) return 1;
    return 0;
}
