/* The command on hostile arguments, one on each line of the input, at most forty. */
#include "command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char text[2048], copy[2048], *arguments[44];
    char name[] = "twostep";
    int count = 1, i;
    size_t k;
    command_start();
    if (size >= sizeof text) size = sizeof text - 1;
    if (size > 0) memcpy(text, data, size);
    text[size] = '\0';
    arguments[0] = name;
    for (k = 0; k < size && count < 40; k++) {
        arguments[count++] = text + k;
        while (k < size && text[k] != '\n') k++;
        text[k] = '\0';
    }
    arguments[count] = NULL;
    memcpy(copy, text, sizeof copy);
    command_run(count, arguments, hash_of(data, size));
    for (i = 1; i < count; i++) {
        const char *word = copy + (arguments[i] - text), *equals;
        if (arguments[i] < text || arguments[i] >= text + sizeof text) continue;
        equals = strchr(word, '=');
        nothing_partial(word);
        if (strchr(word, '/') == NULL) remove(word);
        if (equals != NULL) nothing_partial(equals + 1);
        if (equals != NULL && strchr(equals, '/') == NULL) remove(equals + 1);
    }
    return 0;
}
