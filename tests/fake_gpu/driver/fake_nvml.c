/* An NVML whose GPU answers from a file, so that the real pynvml can be read from where there is no GPU.
 *
 * FAKE_NVML names the file, read anew at each call: lines `name=value`. What it does not name is not supported.
 * With `count=2` a small GPU, which is idle, comes first, since its PCI address is lower.
 * `init` is what nvmlInit returns, `status` what every question returns first; while `hang` is 1 none returns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

static int gpu, small; /* their addresses are the handles */

static int told(const char *name, unsigned long long *value) {
    char line[256];
    size_t length = strlen(name);
    int found = 0;
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, name, length) && line[length] == '=') {
            *value = strtoull(line + length + 1, NULL, 0);
            found = 1;
        }
    if (file) fclose(file);
    return found;
}

static int ask(const void *device, const char *name, unsigned long long *value) {
    unsigned long long hang = 0, status = SUCCESS;
    while (told("hang", &hang) && hang) usleep(1000);
    if (device == &small) return *value = 0, SUCCESS;
    if (device != &gpu) return INVALID_ARGUMENT;
    if (told("status", &status) && status) return (int)status;
    return told(name, value) ? SUCCESS : NOT_SUPPORTED;
}

static int ask_int(const void *device, const char *name, unsigned *value) {
    unsigned long long wide = 0;
    int status = ask(device, name, &wide);
    *value = (unsigned)wide;
    return status;
}

int nvmlInitWithFlags(unsigned flags) {
    unsigned long long status = SUCCESS;
    (void)flags;
    told("init", &status);
    return (int)status;
}

int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int status) { return status ? "an error" : "no error"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    unsigned long long told_count = 1;
    told("count", &told_count);
    *count = (unsigned)told_count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    unsigned count;
    nvmlDeviceGetCount_v2(&count);
    *device = count == 2 && index == 0 ? &small : &gpu;
    return index < count ? SUCCESS : NOT_FOUND;
}

/* The addresses of fake_devices.cpp; NVML takes domains of four and of eight digits. */
int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device) {
    if (strlen(address) < 7) return INVALID_ARGUMENT;
    const char *bus = address + strlen(address) - 7;
    *device = !strcmp(bus, "01:00.0") ? &small : &gpu;
    return !strcmp(bus, "01:00.0") || !strcmp(bus, "65:00.0") ? SUCCESS : NOT_FOUND;
}

int nvmlDeviceGetName(const void *device, char *name, unsigned size) {
    if (device != &gpu && device != &small) return INVALID_ARGUMENT;
    snprintf(name, size, device == &gpu ? "Fake GPU" : "Small GPU");
    return SUCCESS;
}

int nvmlDeviceGetPersistenceMode(const void *device, unsigned *mode) { return ask_int(device, "persistence", mode); }

struct memory { unsigned long long total, free, used; };

int nvmlDeviceGetMemoryInfo(const void *device, struct memory *memory) {
    int status = ask(device, "memory_total", &memory->total);
    if (!status) status = ask(device, "memory_used", &memory->used);
    memory->free = memory->total - memory->used;
    return status;
}

struct rates { unsigned gpu, memory; };

int nvmlDeviceGetUtilizationRates(const void *device, struct rates *rates) {
    rates->memory = 99; /* of the memory's bus: nobody asked */
    return ask_int(device, "utilization", &rates->gpu);
}

int nvmlDeviceGetTemperature(const void *device, int sensor, unsigned *celsius) {
    return sensor ? INVALID_ARGUMENT : ask_int(device, "temperature", celsius);
}

int nvmlDeviceGetClockInfo(const void *device, int type, unsigned *mhz) {
    return type == 1 ? ask_int(device, "clock", mhz) : INVALID_ARGUMENT;
}

int nvmlDeviceGetMaxClockInfo(const void *device, int type, unsigned *mhz) {
    return type == 1 ? ask_int(device, "clock_max", mhz) : INVALID_ARGUMENT;
}

int nvmlDeviceGetCurrentClocksEventReasons(const void *device, unsigned long long *reasons) {
    return ask(device, "reasons", reasons);
}
