#include <errno.h>

/* Prints what was tried, and "ok" or the name of the error. */
void say(const char *what, long result);

int hunt(const char *until);
int linger(const char *path);
int notify(const char *path, const char *text, long times);
int abstract(const char *name, int serve);
int deceive(const char *interface, const char *neighbour, const char *gateway);
int uring(void);
int hear(const char *interface, const char *until);
