// 3x3 products by Winograd's F(2x2, 3x3): Lavin and Gray, "Fast algorithms for convolutional neural
// networks", CVPR 2016. A square of 2 x 2 output pixels reads 4 x 4 input pixels; both, and the kernel, have
// a linear transform into 16 positions where the convolution is one product of channels per position instead
// of nine per pixel: 16 instead of 36 per square. Positions of all products of a sum are added before they
// are transformed back.

// One line of four positions of every square in a row of them. upper, lower: the two lines of pixels that
// `meet` combines into it, from the column left of the first square on.
template <class Meet>
inline __attribute__((always_inline)) void transform_line(const float* upper, const float* lower, int across,
                                                          std::ptrdiff_t position, float* to, Meet meet) {
    const auto column = [&](int x) { return meet(load(upper + x * kBlock), load(lower + x * kBlock)); };
    Lanes a = column(0), b = column(1);
    for (int x = 0; x < across; ++x, to += kBlock) {
        upper += 2 * kBlock;
        lower += 2 * kBlock;
        const Lanes c = column(0), d = column(1);
        store(to, a - c);
        store(to + position, b + c);
        store(to + 2 * position, c - b);
        store(to + 3 * position, b - d);
        a = c;
        b = d;
    }
}

// The 4 x 4 positions of every square of a strip: [position][block][square][kBlock].
inline void transform_input(const HaloPlane& in, int first_row, int rows, float* out) {
    const int across = in.width / 2;
    const std::ptrdiff_t squares = static_cast<std::ptrdiff_t>(rows / 2) * across;
    const std::ptrdiff_t position = squares * in.blocks * kBlock;
    const std::ptrdiff_t line = static_cast<std::ptrdiff_t>(in.pitch()) * kBlock;
    const auto add = [](Lanes x, Lanes y) { return x + y; };
    const auto subtract = [](Lanes x, Lanes y) { return x - y; };
    for (int block = 0; block < in.blocks; ++block) {
        for (int row = 0; row < rows; row += 2, out += across * kBlock) {
            const std::ptrdiff_t corner = static_cast<std::ptrdiff_t>(first_row + row - 1) * in.pitch() - 1;
            for (int part = 0; part < kParts; ++part) {
                const float* x = at<Float32>(in, block, corner) + part * kLanes;
                float* to = out + part * kLanes;
                transform_line(x, x + 2 * line, across, position, to, subtract);
                transform_line(x + line, x + 2 * line, across, position, to + 4 * position, add);
                transform_line(x + 2 * line, x + line, across, position, to + 8 * position, subtract);
                transform_line(x + line, x + 3 * line, across, position, to + 12 * position, subtract);
            }
        }
    }
}

// Positions [position][block][square][kBlock] -> pixels [block][row][width][kBlock] of a strip.
inline void transform_output(const float* in, int blocks, int rows, int width, float* out) {
    const std::ptrdiff_t squares = static_cast<std::ptrdiff_t>(rows / 2) * (width / 2);
    const std::ptrdiff_t position = squares * blocks * kBlock;
    const std::ptrdiff_t line = static_cast<std::ptrdiff_t>(width) * kBlock;
    for (int pair = 0; pair < blocks * rows / 2; ++pair, out += 2 * line) {
        for (int x = 0; x < width / 2; ++x, in += kBlock) {
            for (int part = 0; part < kParts; ++part) {
                Lanes above[4], below[4];
#pragma GCC unroll 4
                for (int j = 0; j < 4; ++j) {
                    const float* column = in + j * position + part * kLanes;
                    const Lanes a = load(column), b = load(column + 4 * position),
                                c = load(column + 8 * position), d = load(column + 12 * position);
                    above[j] = a + b + c;
                    below[j] = b - c - d;
                }
                float* to = out + static_cast<std::ptrdiff_t>(x) * 2 * kBlock + part * kLanes;
                store(to, above[0] + above[1] + above[2]);
                store(to + kBlock, above[1] - above[2] - above[3]);
                store(to + line, below[0] + below[1] + below[2]);
                store(to + line + kBlock, below[1] - below[2] - below[3]);
            }
        }
    }
}

// Squares from `square` on: the products of one position and one block of output channels, added.
// values: of the first product, those of all others behind it.
template <int kSquares, int kUsed>
int multiply_squares(const SumStep& step, const float* values, int position, int block, int squares,
                     int square, float* out) {
    const int blocks = (step.channels + kBlock - 1) / kBlock;
    const std::ptrdiff_t channels = static_cast<std::ptrdiff_t>(squares) * kBlock;  // from block to block
    for (; square + kSquares <= squares; square += kSquares) {
        SumRegisters<Float32, kSquares, 1, kUsed> registers = {};
        const float* next = values;
        for (int i = 0; i < step.transformed_count; ++i) {
            const TransformedProduct& product = step.transformed[i];
            const float* x = next + position * product.input.blocks * channels + square * kBlock;
            const char* weights = product.weights + static_cast<std::ptrdiff_t>(position * blocks + block) *
                                                        product.words * kWordBytes;
            for (int left = product.words; left > 0; left -= kBlock) {
                registers.add_words(weights, 0, x, left < kBlock ? left : kBlock, 1);
                weights += kBlock * kWordBytes;
                x += channels;
            }
            next += kPositions * product.input.blocks * channels;
        }
        float* to = out + static_cast<std::ptrdiff_t>(square) * kBlock;
        each_part<kSquares>(
            [&](int s, int part) { store(to + s * kBlock + part * kLanes, registers.sums[0][s][part]); });
    }
    return square;
}

// The products of all positions. values: as transform_input leaves them, one product after another.
inline void multiply_positions(const SumStep& step, const float* values, int squares, float* out) {
    const int blocks = (step.channels + kBlock - 1) / kBlock;
    for (int position = 0; position < kPositions; ++position) {
        for (int block = 0; block < blocks; ++block, out += static_cast<std::ptrdiff_t>(squares) * kBlock) {
            const auto from = [&]<int kSquares, int kUsed>(int square) {
                return multiply_squares<kSquares, kUsed>(step, values, position, block, squares, square, out);
            };
            int square = 0;
            if constexpr (kLanes == 16) square = from.template operator()<16, kParts>(square);
            if constexpr (kParts > 1) {
                if (step.channels - block * kBlock <= kLanes) {
                    square = from.template operator()<8, 1>(square);
                    from.template operator()<1, 1>(square);
                    continue;
                }
            }
            square = from.template operator()<4, kParts>(square);
            from.template operator()<1, kParts>(square);
        }
    }
}

// A sum with transformed products, a strip of rows at a time.
template <class P>
void sum_strips(const SumStep& step) {
    const int blocks = (step.channels + kBlock - 1) / kBlock, usual = strip_rows(step.height, step.width);
    for (int first = 0; first < step.height; first += usual) {
        const int left = step.height - first, rows = left < usual ? left : usual;
        const int squares = rows / 2 * (step.width / 2);
        const std::ptrdiff_t positions = static_cast<std::ptrdiff_t>(kPositions) * squares * kBlock;
        float* sums = step.scratch;
        for (int i = 0; i < step.transformed_count; ++i) {
            const HaloPlane& input = step.transformed[i].input;
            transform_input(input, first, rows, sums);
            sums += positions * input.blocks;
        }
        multiply_positions(step, step.scratch, squares, sums);
        float* pixels = sums + positions * blocks;
        transform_output(sums, blocks, rows, step.width, pixels);
        sum_rows<P>(step, {pixels, first, rows}, first, first + rows);
    }
}

// U = G g G^T, G = [1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1].
template <class P>
void pack_transformed(const float* const* taps, std::ptrdiff_t channels, char* words,
                      std::ptrdiff_t position_bytes) {
    for (std::ptrdiff_t i = 0; i < channels * kBlock; i += kLanes) {
        Lanes rows[4][3];
#pragma GCC unroll 4
        for (int x = 0; x < 3; ++x) {
            const auto tap = [&](int y) { return P::round(load(taps[3 * y + x] + i)); };
            const Lanes a = tap(0), b = tap(1), c = tap(2);
            rows[0][x] = a;
            rows[1][x] = (a + b + c) * 0.5F;
            rows[2][x] = (a - b + c) * 0.5F;
            rows[3][x] = c;
        }
#pragma GCC unroll 4
        for (int y = 0; y < 4; ++y) {
            const auto& [a, b, c] = rows[y];
            auto* to = reinterpret_cast<float*>(words + 4 * y * position_bytes) + i;
            const std::ptrdiff_t next = position_bytes / static_cast<std::ptrdiff_t>(sizeof(float));
            store(to, a);
            store(to + next, (a + b + c) * 0.5F);
            store(to + 2 * next, (a - b + c) * 0.5F);
            store(to + 3 * next, c);
        }
    }
}
