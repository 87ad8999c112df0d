// Preloaded by the ledger test's sabotage run: nothing reaches the disk when it is told to, as on a
// build whose fsync does nothing.  The test must then find a loss.
int fsync(int fd) { return (void)fd, 0; }
int fdatasync(int fd) { return (void)fd, 0; }
int syncfs(int fd) { return (void)fd, 0; }
int msync(void *at, unsigned long size, int flags) { return (void)at, (void)size, (void)flags, 0; }
