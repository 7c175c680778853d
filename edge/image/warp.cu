// Warps a part of a frame into the planes of a model's input: crop, colours, average and warp in one pass.
//
// Gives the same pixels as `Warp.apply` in edge/image/warp.py, to within one grey level. One thread makes one pixel
// of the input, in all its planes; threads share nothing. Products are added by `fmaf`, as in OpenCV's vector code,
// so that no compiler flag for contraction changes a pixel.

typedef unsigned char Level;

// Colours of the model and of the frame.
enum { GREY, BGR, RGB };
// A raw frame's `source` is RAW plus red's x and twice red's y in the first 2x2 pixels.
enum { RAW = 2 };
// The level of a pixel that is ignored.
enum { FLAT = 128 };

struct Frame {
    const Level *pixels;
    int pitch, width, height, source;
};

// A region of the frame from pixel `left`, `top` on, and the picture of `width` x `height` that is made of it:
// `cells_x` of its pixels are as wide as `span_x` pixels of the frame, and alike along y.
struct Part {
    int left, top, width, height, span_x, cells_x, span_y, cells_y;
};

template <int N> struct Pixel {
    float of[N];
};

struct Bgr {
    int blue, green, red;
};

static __device__ int raw(const Frame &frame, int x, int y) {
    return frame.pixels[(long long)y * frame.pitch + x];
}

static __device__ int clamped(int value, int low, int high) {
    return value < low ? low : value > high ? high : value;
}

// A pixel of a raw frame in all colours: missing ones are the mean of the nearest pixels that have them. Pixels at
// the frame's edge are copied from their inner neighbours.
static __device__ Bgr demosaiced(const Frame &frame, int x, int y) {
    x = clamped(x, 1, frame.width - 2), y = clamped(y, 1, frame.height - 2);
    int red = frame.source - RAW, here = raw(frame, x, y);
    int across = raw(frame, x - 1, y) + raw(frame, x + 1, y), down = raw(frame, x, y - 1) + raw(frame, x, y + 1);
    bool red_column = (x & 1) == (red & 1), red_row = (y & 1) == red >> 1;
    bool green_here = red_column != red_row;
    if (green_here) {
        int in_row = (across + 1) >> 1, in_column = (down + 1) >> 1;
        return red_row ? Bgr{in_column, here, in_row} : Bgr{in_row, here, in_column};
    }
    int corners = raw(frame, x - 1, y - 1) + raw(frame, x + 1, y - 1) + raw(frame, x - 1, y + 1)
                + raw(frame, x + 1, y + 1);
    int green = (across + down + 2) >> 2, other = (corners + 2) >> 2;
    return red_row ? Bgr{other, green, here} : Bgr{here, green, other};
}

// A pixel of the frame in the order of the model's planes.
template <int N> static __device__ Pixel<N> seen(const Frame &frame, int color, int x, int y) {
    Pixel<N> pixel;
    if (N == 1 && frame.source == GREY) {
        pixel.of[0] = (float)raw(frame, x, y);
        return pixel;
    }
    Bgr bgr;
    if (frame.source == BGR)
        bgr = Bgr{raw(frame, 3 * x, y), raw(frame, 3 * x + 1, y), raw(frame, 3 * x + 2, y)};
    else
        bgr = demosaiced(frame, x, y);
    // Grey is that of ITU-R BT.601, in parts of 32768.
    if (N == 1) {
        pixel.of[0] = (float)((3735 * bgr.blue + 19235 * bgr.green + 9798 * bgr.red + 16384) >> 15);
    } else {
        pixel.of[0] = (float)(color == RGB ? bgr.red : bgr.blue);
        pixel.of[N / 2] = (float)bgr.green;
        pixel.of[N - 1] = (float)(color == RGB ? bgr.blue : bgr.red);
    }
    return pixel;
}

// How much of pixel `i` of the frame lies in pixel `at` of the picture, in parts of 1 / `cells`.
static __device__ int shared(int i, int at, int span, int cells) {
    int from = i * cells > at * span ? i * cells : at * span;
    int to = (i + 1) * cells < (at + 1) * span ? (i + 1) * cells : (at + 1) * span;
    return to - from;
}

// A pixel of the picture: the mean of the frame's pixels that it covers, weighted by how much of each it covers.
template <int N>
static __device__ Pixel<N> mean(const Frame &frame, const Part &part, int color, int x, int y) {
    if (part.span_x == part.cells_x && part.span_y == part.cells_y)
        return seen<N>(frame, color, part.left + x, part.top + y);
    Pixel<N> sum = {};
    for (int j = y * part.span_y / part.cells_y; j * part.cells_y < (y + 1) * part.span_y; ++j) {
        // Whole numbers, so the sums are exact.
        Pixel<N> row = {};
        for (int i = x * part.span_x / part.cells_x; i * part.cells_x < (x + 1) * part.span_x; ++i) {
            Pixel<N> pixel = seen<N>(frame, color, part.left + i, part.top + j);
            float share = (float)shared(i, x, part.span_x, part.cells_x);
            for (int n = 0; n < N; ++n)
                row.of[n] = fmaf(share, pixel.of[n], row.of[n]);
        }
        float share = (float)shared(j, y, part.span_y, part.cells_y);
        for (int n = 0; n < N; ++n)
            sum.of[n] = fmaf(share, row.of[n], sum.of[n]);
    }
    float all = (float)part.span_x * (float)part.span_y;
    bool halved = part.span_x == 2 && part.span_y == 2 && part.cells_x == 1 && part.cells_y == 1;
    // OpenCV rounds halves up when it halves both sides, and to even elsewhere.
    for (int n = 0; n < N; ++n)
        sum.of[n] = halved ? floorf((sum.of[n] + 2) / 4) : rintf(sum.of[n] / all);
    return sum;
}

template <int N> static __device__ Pixel<N> between(const Pixel<N> &a, const Pixel<N> &b, float share) {
    Pixel<N> mixed;
    for (int n = 0; n < N; ++n)
        mixed.of[n] = fmaf(share, b.of[n] - a.of[n], a.of[n]);
    return mixed;
}

// A pixel of the picture or, outside of it, the pixel `behind`.
template <int N>
static __device__ Pixel<N>
pixel_at(const Frame &frame, const Part &part, int color, const Pixel<N> &behind, int x, int y) {
    bool inside = 0 <= x && x < part.width && 0 <= y && y < part.height;
    return inside ? mean<N>(frame, part, color, x, y) : behind;
}

// The picture at a place between its pixels; a neighbour of weight 0 is not read.
template <int N>
static __device__ Pixel<N>
sampled(const Frame &frame, const Part &part, int color, const Pixel<N> &behind, float x, float y) {
    int column = (int)floorf(x), row = (int)floorf(y);
    float right = x - floorf(x), below = y - floorf(y);
    Pixel<N> pixel = pixel_at<N>(frame, part, color, behind, column, row);
    if (right > 0)
        pixel = between(pixel, pixel_at<N>(frame, part, color, behind, column + 1, row), right);
    if (below > 0) {
        Pixel<N> next = pixel_at<N>(frame, part, color, behind, column, row + 1);
        if (right > 0)
            next = between(next, pixel_at<N>(frame, part, color, behind, column + 1, row + 1), right);
        pixel = between(pixel, next, below);
    }
    return pixel;
}

// Without `under` the picture's edge pixels are repeated; else pixels outside of the picture are those of `under`.
template <int N>
static __device__ void
warp_pixel(const Frame &frame, const Part &part, int color, const Level *under, Level *out, int area, float x, float y) {
    Pixel<N> behind = {};
    for (int n = 0; under && n < N; ++n)
        behind.of[n] = (float)under[(long long)n * area];
    float beyond = under ? 1.0f : 0.0f;
    x = fminf(fmaxf(x, -beyond), part.width - 1 + beyond);
    y = fminf(fmaxf(y, -beyond), part.height - 1 + beyond);
    Pixel<N> pixel = sampled<N>(frame, part, color, behind, x, y);
    for (int n = 0; n < N; ++n)
        out[(long long)n * area] = (Level)rintf(pixel.of[n]);
}

// `frame`: (frame_height, frame_width) or (.., 3) levels, rows `pitch` bytes apart; `source`: GREY, BGR or from RAW
// on. `color`: GREY makes one plane, BGR and RGB three. `under` and `out`: planes of `height` x `width`; `ignored`:
// one plane, not 0 at a pixel that is ignored. `under` and `ignored` may be null. The warp is column, row of the
// input -> x, y in the picture: (a b c / d e f).
extern "C" __global__ void
warp(const Level *frame, const Level *under, const Level *ignored, Level *out, int pitch, int frame_width, int frame_height, int source,
    int left, int top, int picture_width, int picture_height, int span_x, int cells_x, int span_y, int cells_y,
    float a, float b, float c, float d, float e, float f, int width, int height, int color) {
    int column = (int)(blockIdx.x * blockDim.x + threadIdx.x), row = (int)(blockIdx.y * blockDim.y + threadIdx.y);
    if (column >= width || row >= height)
        return;
    Frame seen_frame = {frame, pitch, frame_width, frame_height, source};
    Part part = {left, top, picture_width, picture_height, span_x, cells_x, span_y, cells_y};
    float x = fmaf(a, (float)column, fmaf(b, (float)row, c)), y = fmaf(d, (float)column, fmaf(e, (float)row, f));
    int area = width * height, place = row * width + column;
    if (ignored && ignored[place]) {
        for (int plane = 0; plane < (color == GREY ? 1 : 3); ++plane)
            out[(long long)plane * area + place] = FLAT;
        return;
    }
    const Level *behind = under ? under + place : under;
    if (source != GREY && color != GREY) {
        warp_pixel<3>(seen_frame, part, color, behind, out + place, area, x, y);
        return;
    }
    warp_pixel<1>(seen_frame, part, color, behind, out + place, area, x, y);
    for (int plane = 1; color != GREY && plane < 3; ++plane)
        out[(long long)plane * area + place] = out[place];
}
