#include "znas/grams.hpp"

#include <algorithm>
#include <utility>

#include "dispatch.hpp"

namespace znas {

namespace {

constexpr std::size_t kStrip = 512;   // columns whose products are summed in single precision
constexpr std::size_t kTogether = 4;  // images whose columns follow one another: small maps fill a strip too

// Rows of floats, aligned, and zero from their last column to the end of a vector.
class Rows {
  public:
    // What was in the columns is undefined afterwards.
    void reshape(std::size_t rows, std::size_t columns) {
        rows_ = rows;
        vectors_ = (columns + kVector - 1) / kVector;
        if (values_.size() < rows * vectors_) values_.resize(rows * vectors_);
        for (std::size_t r = 0; r < rows; ++r) {
            std::fill(row(r) + columns, row(r) + vectors_ * kVector, 0.0F);
        }
    }
    std::size_t rows() const { return rows_; }
    std::size_t width() const { return vectors_ * kVector; }  // with the zeros
    float* row(std::size_t r) { return values_[0].lanes + r * width(); }
    const float* row(std::size_t r) const { return values_[0].lanes + r * width(); }

  private:
    struct alignas(64) Vector {
        float lanes[kVector];
    };
    std::size_t rows_ = 0, vectors_ = 0;
    std::vector<Vector> values_ = std::vector<Vector>(1);
};

// sums[i, j] += left row i . right row j; of a row with itself and later ones only where `left` is `right`.
void add_products(const KernelTable& table, const Rows& left, const Rows& right, double* sums) {
    const bool symmetric = &left == &right;
    const float *a[kTile], *b[kTile];
    for (std::size_t begin = 0; begin < left.width(); begin += kStrip) {
        const std::size_t columns = std::min(kStrip, left.width() - begin);
        for (std::size_t i = 0; i < left.rows(); i += kTile) {
            // A tile that sticks out past the last row repeats it, and nobody looks at what that adds.
            for (std::size_t t = 0; t < kTile; ++t) a[t] = left.row(std::min(i + t, left.rows() - 1)) + begin;
            for (std::size_t j = symmetric ? i : 0; j < right.rows(); j += kTile) {
                for (std::size_t t = 0; t < kTile; ++t) {
                    b[t] = right.row(std::min(j + t, right.rows() - 1)) + begin;
                }
                double tile[kTile * kTile];
                table.dot_tile(a, b, columns, tile);
                const std::size_t bottom = std::min(kTile, left.rows() - i);
                const std::size_t end = std::min(kTile, right.rows() - j);
                for (std::size_t s = 0; s < bottom; ++s) {
                    double* row = sums + (i + s) * right.rows() + j;
                    for (std::size_t t = 0; t < end; ++t) row[t] += tile[s * kTile + t];
                }
            }
        }
    }
}

// Fills the half of a square that `add_products` leaves out.
void mirror(double* square, std::size_t rows) {
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < i; ++j) square[i * rows + j] = square[j * rows + i];
    }
}

void subtract(const float* x, std::size_t count, double mean, float* out) {
    const auto less = static_cast<float>(mean);
    for (std::size_t k = 0; k < count; ++k) out[k] = x[k] - less;
}

// Means of squares of factor x factor pixels. in: [height * factor, width * factor]; out: [height, width].
void average(const float* in, std::size_t height, std::size_t width, std::size_t factor, float* out) {
    const float share = 1.0F / static_cast<float>(factor * factor);
    for (std::size_t y = 0; y < height; ++y, in += factor * width * factor) {
        for (std::size_t x = 0; x < width; ++x) {
            float total = 0;
            for (std::size_t i = 0; i < factor; ++i) {
                for (std::size_t j = 0; j < factor; ++j) {
                    total += in[i * width * factor + x * factor + j];
                }
            }
            *out++ = total * share;
        }
    }
}

}  // namespace

void channel_gram(const float* x, std::size_t images, std::size_t channels, std::size_t pixels, double* mean,
                  double* gram, Isa isa) {
    const KernelTable& table = kernels(isa);
    std::fill_n(mean, channels, 0.0);
    std::fill_n(gram, channels * channels, 0.0);
    for (std::size_t row = 0; row < images * channels; ++row) {
        mean[row % channels] += table.sum(x + row * pixels, pixels);
    }
    for (std::size_t c = 0; c < channels; ++c) mean[c] /= static_cast<double>(images * pixels);
    Rows centred;
    for (std::size_t first = 0; first < images; first += kTogether) {
        const std::size_t count = std::min(kTogether, images - first);
        centred.reshape(channels, count * pixels);
        for (std::size_t n = 0; n < count; ++n) {
            const float* image = x + (first + n) * channels * pixels;
            for (std::size_t c = 0; c < channels; ++c) {
                subtract(image + c * pixels, pixels, mean[c], centred.row(c) + n * pixels);
            }
        }
        add_products(table, centred, centred, gram);
    }
    mirror(gram, channels);
}

void image_gram(const float* x, std::size_t images, std::size_t units, double* gram, Isa isa) {
    const KernelTable& table = kernels(isa);
    std::fill_n(gram, images * images, 0.0);
    std::vector<double> mean;
    for (std::size_t n = 0; n < images; ++n) {
        mean.push_back(table.sum(x + n * units, units) / static_cast<double>(units));
    }
    Rows centred;
    for (std::size_t first = 0; first < units; first += kStrip) {
        const std::size_t columns = std::min(kStrip, units - first);
        centred.reshape(images, columns);
        for (std::size_t n = 0; n < images; ++n) {
            subtract(x + n * units + first, columns, mean[n], centred.row(n));
        }
        add_products(table, centred, centred, gram);
    }
    mirror(gram, images);
}

std::vector<Response> response_grams(const std::vector<Answer>& answers, std::size_t images, Isa isa) {
    const KernelTable& table = kernels(isa);
    std::vector<Response> responses;
    for (std::size_t k = 1; k < answers.size(); ++k) {
        const std::size_t before = answers[k - 1].channels;
        responses.push_back(
            {std::vector<double>(before * before), std::vector<double>(before * answers[k].channels)});
    }
    Rows before, after, averaged;
    for (std::size_t first = 0; first < images; first += kTogether) {
        const std::size_t count = std::min(kTogether, images - first);
        for (std::size_t k = 0; k < answers.size(); ++k) {
            const auto& [still, nudged, channels, height, width] = answers[k];
            const std::size_t pixels = height * width;
            after.reshape(channels, count * pixels);
            for (std::size_t n = 0; n < count; ++n) {
                for (std::size_t c = 0; c < channels; ++c) {
                    const std::size_t at = ((first + n) * channels + c) * pixels;
                    float* moved = after.row(c) + n * pixels;
                    for (std::size_t p = 0; p < pixels; ++p) moved[p] = nudged[at + p] - still[at + p];
                }
            }
            if (k > 0) {
                const std::size_t factor = answers[k - 1].height / height;
                if (factor > 1) {
                    averaged.reshape(before.rows(), count * pixels);
                    for (std::size_t c = 0; c < before.rows(); ++c) {
                        average(before.row(c), count * height, width, factor, averaged.row(c));
                    }
                }
                const Rows& matched = factor > 1 ? averaged : before;
                add_products(table, matched, matched, responses[k - 1].energy.data());
                add_products(table, matched, after, responses[k - 1].cross.data());
            }
            std::swap(before, after);
        }
    }
    for (std::size_t k = 0; k < responses.size(); ++k) {
        mirror(responses[k].energy.data(), answers[k].channels);
    }
    return responses;
}

}  // namespace znas
