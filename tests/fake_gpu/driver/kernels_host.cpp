// The kernel of edge/image as functions of the host, a thread after another: for tests without a GPU.
//
//     g++ -std=c++17 -O2 -shared -fPIC -o kernels.so tests/fake_gpu/driver/kernels_host.cpp

#include <array>
#include <cmath>
#include <cstddef>
#include <utility>

#define __global__
#define __device__

struct Index {
    unsigned x, y, z;
};
static thread_local Index blockIdx, threadIdx, blockDim, gridDim;

#include "../../../edge/image/warp.cu"

template <typename Call> static void each(Index size, Index &index, Call call) {
    for (index.z = 0; index.z < size.z; ++index.z)
        for (index.y = 0; index.y < size.y; ++index.y)
            for (index.x = 0; index.x < size.x; ++index.x)
                call();
}

template <typename... Types, std::size_t... I>
static void launch(void (*kernel)(Types...), void **params, Index grid, Index block, std::index_sequence<I...>) {
    gridDim = grid, blockDim = block;
    each(grid, blockIdx, [&] { each(block, threadIdx, [&] { kernel(*static_cast<Types *>(params[I])...); }); });
}

template <typename... Types>
static void launch(void (*kernel)(Types...), void **params, Index grid, Index block) {
    launch(kernel, params, grid, block, std::index_sequence_for<Types...>{});
}

template <typename... Types> static constexpr std::array<int, sizeof...(Types) + 1> sizes(void (*)(Types...)) {
    return {static_cast<int>(sizeof(Types))..., 0};
}

// `params[i]` points at the kernel's i-th argument, which has the i-th of the sizes.
#define HOST(name)                                                                                                \
    extern "C" const auto fake_##name##_sizes = sizes(name);                                                     \
    extern "C" void fake_##name(void **params, unsigned grid_x, unsigned grid_y, unsigned grid_z,                \
                                unsigned block_x, unsigned block_y, unsigned block_z) {                          \
        launch(name, params, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z});                             \
    }

HOST(warp)
