/* A stub of NVIDIA's libnvidia-ml.so.1: it shows the GPUs that the file STUB_NVML describes.
 *
 *   driver 555.42.06 12050        the driver's version and its CUDA's
 *   init 9                        nvmlInit fails with this error
 *   gpu UUID NAME MIB MODE ERROR  a GPU; each call for it fails with ERROR unless that is 0
 *   mig GPU UUID MIB ERROR        a slice of a GPU, which is then in MIG mode
 *   mode-mig GPU                  a GPU in MIG mode, perhaps without a slice
 *   xid GPU CODE                  an event, told once
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, TIMEOUT = 10, MOST = 16 };

typedef struct {
    char uuid[96], name[96];
    unsigned long long mib;
    int index, mode, error, mig, slices[MOST], slice_count;
} Device;
typedef struct {
    unsigned long long total, free, used;
} Memory;
typedef struct {
    void *device;
    unsigned long long type, data;
    unsigned gpu_instance, compute_instance;
} Event;

static Device gpus[MOST], slices[MOST];
static int gpu_count, slice_count, init_error, cuda = 12050;
static int xid_gpu[MOST], xid_code[MOST], xid_count, xid_told;
static char driver[80] = "555.42.06";

static void load(void) {
    const char *path = getenv("STUB_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[400];
    int told = xid_told;
    gpu_count = slice_count = init_error = xid_count = 0;
    if (!file) { init_error = 9; return; }
    while (fgets(line, sizeof line, file)) {
        Device d;
        int at, code;
        memset(&d, 0, sizeof d);
        if (sscanf(line, "driver %79s %d", driver, &cuda) == 2) continue;
        if (sscanf(line, "init %d", &init_error) == 1) continue;
        if (sscanf(line, "gpu %95s %95s %llu %d %d", d.uuid, d.name, &d.mib, &d.mode, &d.error) == 5) {
            d.index = gpu_count;
            gpus[gpu_count++] = d;
        } else if (sscanf(line, "mig %d %95s %llu %d", &at, d.uuid, &d.mib, &d.error) == 4) {
            snprintf(d.name, sizeof d.name, "%.80s-MIG", gpus[at].name);
            gpus[at].mig = 1;
            gpus[at].slices[gpus[at].slice_count++] = slice_count;
            slices[slice_count++] = d;
        } else if (sscanf(line, "mode-mig %d", &at) == 1) {
            gpus[at].mig = 1;
        } else if (sscanf(line, "xid %d %d", &at, &code) == 2) {
            xid_gpu[xid_count] = at;
            xid_code[xid_count++] = code;
        }
    }
    fclose(file);
    xid_told = told;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; load(); return init_error; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) {
    switch (code) {
    case 4: return "Insufficient Permissions";
    case 9: return "Driver Not Loaded";
    case 15: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}
int nvmlSystemGetDriverVersion(char *out, unsigned size) { snprintf(out, size, "%s", driver); return OK; }
int nvmlSystemGetCudaDriverVersion(int *out) { *out = cuda; return OK; }
int nvmlDeviceGetCount_v2(unsigned *out) { *out = gpu_count; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **out) {
    if ((int)index >= gpu_count) return NOT_FOUND;
    if (gpus[index].error == 4) return 4;
    *out = &gpus[index];
    return OK;
}
int nvmlDeviceGetUUID(Device *d, char *out, unsigned size) { snprintf(out, size, "%s", d->uuid); return OK; }
int nvmlDeviceGetName(Device *d, char *out, unsigned size) { snprintf(out, size, "%s", d->name); return d->error; }
int nvmlDeviceGetIndex(Device *d, unsigned *out) { *out = d->index; return OK; }
int nvmlDeviceGetMemoryInfo(Device *d, Memory *out) {
    out->total = out->free = d->mib << 20;
    out->used = 0;
    return d->error;
}
int nvmlDeviceGetCudaComputeCapability(Device *d, int *major, int *minor) { *major = 9; *minor = 0; return d->error; }
int nvmlDeviceGetComputeMode(Device *d, int *out) { *out = d->mode; return OK; }
int nvmlDeviceGetMigMode(Device *d, unsigned *now, unsigned *pending) {
    *now = *pending = d->mig;
    return strstr(d->name, "OLD") ? NOT_SUPPORTED : OK;
}
int nvmlDeviceGetMaxMigDeviceCount(Device *d, unsigned *out) { (void)d; *out = 7; return OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(Device *d, unsigned index, void **out) {
    if ((int)index >= d->slice_count) return NOT_FOUND;
    *out = &slices[d->slices[index]];
    return OK;
}
int nvmlEventSetCreate(void **out) { *out = &xid_told; return OK; }
int nvmlEventSetFree(void *set) { (void)set; return OK; }
int nvmlDeviceRegisterEvents(Device *d, unsigned long long types, void *set) {
    (void)types; (void)set;
    return d->error;
}
int nvmlEventSetWait_v2(void *set, Event *out, unsigned milliseconds) {
    (void)set;
    load();
    if (xid_told >= xid_count) { usleep(milliseconds < 200 ? milliseconds * 1000 : 200000); return TIMEOUT; }
    memset(out, 0, sizeof *out);
    out->device = &gpus[xid_gpu[xid_told]];
    out->type = 8;
    out->data = xid_code[xid_told++];
    return OK;
}
