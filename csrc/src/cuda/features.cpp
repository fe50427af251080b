// Features that lie on a GPU: on the host, or as sums of their products.
#include <algorithm>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "feature_grams.hpp"
#include "network.hpp"

namespace znas::cuda {

namespace {

using native::Shape;

Offset first_of(const Features& features, int site) {
    Offset first = 0;
    for (int s = 0; s < site; ++s) first += features.network->plan.kept_sizes.at(at(s));
    return first * at(features.images);
}

// A site of several values has the channels of all, and is refused if their pixels are not as many.
Shape shape_of(const Features& features, int site) {
    const Plan& plan = features.network->plan;
    const std::vector<int>& values = plan.program->sites().at(at(plan.kept.at(at(site))));
    Shape shape = plan.program->values()[at(values.at(0))].shape;
    shape.channels = 0;
    for (const int v : values) {
        const Shape& of = plan.program->values()[at(v)].shape;
        if (of.height != shape.height || of.width != shape.width) {
            throw std::invalid_argument("site " + std::to_string(plan.kept[at(site)]) +
                                        " has values of several sizes, which share no channels");
        }
        shape.channels += of.channels;
    }
    return shape;
}

// Channels of all images.
Rows channels_of(const Features& features, int site) {
    const Shape shape = shape_of(features, site);
    const Offset pixels = at(shape.height) * at(shape.width);
    Rows rows;
    rows.first = first_of(features, site);
    rows.row = pixels;
    rows.image = pixels * at(shape.channels);
    rows.count = shape.channels;
    rows.images = features.images;
    rows.height = shape.height;
    rows.width = shape.width;
    return rows;
}

// Images with all their units.
Rows images_of(const Features& features, int site) {
    const Shape shape = shape_of(features, site);
    Rows rows;
    rows.first = first_of(features, site);
    rows.row = at(shape.channels) * at(shape.height) * at(shape.width);
    rows.count = features.images;
    rows.images = 1;
    rows.height = shape.channels * shape.height;
    rows.width = shape.width;
    return rows;
}

// `count` numbers from `first` on of every mask's `pitch`.
std::vector<double> part(const std::vector<double>& of, std::size_t masks, Offset pitch, Offset first,
                         Offset count) {
    std::vector<double> found;
    for (std::size_t m = 0; m < masks; ++m) {
        const auto begin = of.begin() + static_cast<std::ptrdiff_t>(m * pitch + first);
        found.insert(found.end(), begin, begin + static_cast<std::ptrdiff_t>(count));
    }
    return found;
}

// Matrices of all masks, by what they are products of.
class Sums {
  public:
    Offset add_means(int rows) { return std::exchange(means_, means_ + at(rows)); }
    void add(const Rows& left, const Rows& right) {
        const auto of = static_cast<int>(products_.size());
        products_.push_back({left, right, size_});
        size_ += at(left.count) * at(right.count);
        for (int row = 0; row < left.count; row += kGramTile) {
            for (int column = 0; column < right.count; column += kGramTile) {
                tiles_.push_back({of, row, column});
            }
        }
    }
    // less: null where rows lose their means.
    void make(const Features& x, const Features* less) {
        const Stream stream(x.floats.device());
        const std::size_t masks = at(x.masks);
        std::vector<Rows> rows;
        std::vector<Place> places;
        for (const Product& product : products_) {
            if (less == nullptr) {
                for (int r = 0; r < product.left.count; ++r) {
                    places.push_back({static_cast<int>(rows.size()), r, 0});
                }
            }
            rows.push_back(product.left);
        }
        const Resident<Product> products_there(stream, std::span<const Product>(products_));
        const Resident<Place> tiles_there(stream, std::span<const Place>(tiles_));
        const Resident<Rows> rows_there(stream, std::span<const Rows>(rows));
        const Resident<Place> places_there(stream, std::span<const Place>(places));
        const Resident<double> means(stream, masks * means_);
        const Resident<double> out(stream, masks * size_);
        Numbers numbers{x.floats.data(), x.mask_floats(), nullptr, 0, means.data(), means_};
        if (less != nullptr) {
            numbers.less = less->floats.data();
            numbers.mask_less = less->mask_floats();
        }
        check(mean_of_rows(numbers, rows_there.data(), places_there.data(), static_cast<int>(places.size()),
                           x.masks, means.data(), stream),
              "mean_of_rows");
        check(products(numbers, products_there.data(), tiles_there.data(), static_cast<int>(tiles_.size()),
                       x.masks, out.data(), size_, stream),
              "products");
        copy_to_host(means.data(), masks * means_, mean_values_, stream);
        copy_to_host(out.data(), masks * size_, values_, stream);
        stream.wait();
        masks_ = masks;
    }
    // [masks, rows, columns] of the p-th product, and [masks, rows] of its rows' means.
    std::vector<double> product(std::size_t p) const {
        const Product& of = products_[p];
        return part(values_, masks_, size_, of.out, at(of.left.count) * at(of.right.count));
    }
    std::vector<double> means(std::size_t p) const {
        return part(mean_values_, masks_, means_, products_[p].left.means, at(products_[p].left.count));
    }

  private:
    std::vector<Product> products_;
    std::vector<Place> tiles_;
    Offset means_ = 0, size_ = 0;
    std::size_t masks_ = 0;
    std::vector<double> mean_values_, values_;
};

std::string shown(int images, const Shape& shape) {
    return "[" + std::to_string(images) + ", " + std::to_string(shape.channels) + ", " +
           std::to_string(shape.height) + ", " + std::to_string(shape.width) + "]";
}

// Of every site the rows, each less its mean, with each other.
Sums less_means(const Features& features, const std::vector<int>& sites,
                Rows (*rows_of)(const Features&, int)) {
    Sums sums;
    for (const int site : sites) {
        Rows rows = rows_of(features, site);
        rows.means = sums.add_means(rows.count);
        sums.add(rows, rows);
    }
    sums.make(features, nullptr);
    return sums;
}

void require_alike(const Features& one, const Features& other, const std::vector<int>& sites) {
    const auto same = [&](int site) {
        const Rows a = channels_of(one, site), b = channels_of(other, site);
        return a.first == b.first && a.count == b.count && a.height == b.height && a.width == b.width;
    };
    if (one.masks != other.masks || one.images != other.images ||
        one.floats.device() != other.floats.device() || !std::all_of(sites.begin(), sites.end(), same)) {
        throw Error("features that are taken from one another are not of the same values");
    }
}

}  // namespace

std::vector<float> download(const Features& features, int site) {
    const std::size_t masks = at(features.masks);
    const std::size_t floats = features.network->plan.kept_sizes.at(at(site)) * at(features.images);
    std::vector<float> found(masks * floats);
    if (found.empty()) return found;
    const Stream stream(features.floats.device());
    for (std::size_t m = 0; m < masks; ++m) {  // a mask's floats may be more bytes than a pitch can have
        check(cudaMemcpyAsync(found.data() + m * floats,
                              features.floats.data() + m * features.mask_floats() + first_of(features, site),
                              floats * sizeof(float), cudaMemcpyDeviceToHost, stream),
              "cudaMemcpy");
    }
    stream.wait();
    return found;
}

std::vector<ChannelGram> channel_grams(const Features& features, const std::vector<int>& sites) {
    const Sums sums = less_means(features, sites, channels_of);
    std::vector<ChannelGram> found;
    for (std::size_t p = 0; p < sites.size(); ++p) found.push_back({sums.means(p), sums.product(p)});
    return found;
}

std::vector<std::vector<double>> image_grams(const Features& features, const std::vector<int>& sites) {
    const Sums sums = less_means(features, sites, images_of);
    std::vector<std::vector<double>> found;
    for (std::size_t p = 0; p < sites.size(); ++p) found.push_back(sums.product(p));
    return found;
}

std::vector<ResponseGram> response_grams(const Features& still, const Features& nudged,
                                         const std::vector<int>& sites) {
    require_alike(still, nudged, sites);
    Sums sums;
    for (std::size_t k = 1; k < sites.size(); ++k) {
        Rows before = channels_of(still, sites[k - 1]);
        const Rows after = channels_of(still, sites[k]);
        before.factor = before.height / after.height;
        if (before.height != before.factor * after.height || before.width != before.factor * after.width) {
            throw std::invalid_argument(
                "`still[" + std::to_string(k) + "]` must have " + std::to_string(still.images) +
                " images and pixels that those before are a whole multiple of but has shape " +
                shown(still.images, shape_of(still, sites[k])));
        }
        before.height = after.height;
        before.width = after.width;
        sums.add(before, before);
        sums.add(before, after);
    }
    sums.make(nudged, &still);
    std::vector<ResponseGram> found;
    for (std::size_t k = 0; k + 1 < sites.size(); ++k) {
        found.push_back({channels_of(still, sites[k]).count, channels_of(still, sites[k + 1]).count,
                         sums.product(2 * k), sums.product(2 * k + 1)});
    }
    return found;
}

std::vector<std::vector<double>> answer_products(const Features& start, const Features& nudged,
                                                 const Features& middle, const Features& moved,
                                                 const std::vector<int>& sites) {
    FourOf features{};
    int at_place = 0;
    for (const Features* of : {&start, &nudged, &middle, &moved}) {
        require_alike(start, *of, sites);
        features.x[at_place] = of->floats.data();
        features.pitch[at_place++] = of->mask_floats();
    }
    const std::size_t masks = at(start.masks), images = at(start.images);
    std::vector<Rows> rows;
    std::vector<Place> places;
    for (const int site : sites) {
        for (int n = 0; n < start.images; ++n) places.push_back({static_cast<int>(rows.size()), n, 0});
        rows.push_back(images_of(start, site));
    }
    std::vector<double> values;  // before the stream, which is waited for on the way out of an error
    const Stream stream(start.floats.device());
    const Resident<Rows> rows_there(stream, std::span<const Rows>(rows));
    const Resident<Place> places_there(stream, std::span<const Place>(places));
    const std::size_t pitch = places.size() * 3;
    const Resident<double> out(stream, masks * pitch);
    check(answers(features, rows_there.data(), places_there.data(), static_cast<int>(places.size()),
                  start.masks, out.data(), stream),
          "answers");
    copy_to_host(out.data(), masks * pitch, values, stream);
    stream.wait();
    std::vector<std::vector<double>> found;
    for (std::size_t s = 0; s < sites.size(); ++s) {
        found.push_back(part(values, masks, pitch, s * images * 3, images * 3));
    }
    return found;
}

}  // namespace znas::cuda
