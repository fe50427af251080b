// From a program to a plan: what is fused, where weights and planes lie, what runs together.
#include "plan.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#include "places.hpp"

namespace znas::cuda {

namespace {

using native::Program;
using native::Shape;
using native::Term;
using native::Value;

std::size_t at(int index) { return static_cast<std::size_t>(index); }
int blocks_of(int channels) { return (channels + kBlock - 1) / kBlock; }
std::size_t padded(int channels) { return at(blocks_of(channels)) * kBlock; }

constexpr int kChunk = 1024;  // elements that a block of threads merges

// Where weight (input, output) of a word lies: for tensor cores in the order in which the lanes of
// multiply_add read them, each its own sixteen bytes. Lane 4 g + j wants output channels 4 j .. 4 j + 3 of
// its sums as the columns of g, and the input channels 4 j .. 4 j + 3 that it loads of a pixel as rows.
std::array<std::uint8_t, kWord> word_order(bool tensor_cores) {
    std::array<std::uint8_t, kWord> order{};
    for (int place = 0; place < kWord; ++place) {
        int input = place / kBlock, output = place % kBlock;
        if (tensor_cores) {
            const int lane = place / 8, half = place / 4 % 2, pair = place / 2 % 2, i = place % 2;
            const int g = lane / 4, j = lane % 4;
            input = 4 * j + 2 * pair + i;
            output = g / 2 * 4 + half * 2 + g % 2;
        }
        order[at(place)] = static_cast<std::uint8_t>(input * kBlock + output);
    }
    return order;
}

class Planner {
  public:
    Planner(std::shared_ptr<const Program> program, const std::vector<int>& kept)
        : program_(*program), order_(word_order(program_.layout().element_bytes == 2)) {
        plan_.program = std::move(program);
        plan_.kept = kept;
    }

    Plan made() {
        find_outputs();
        find_shared();
        place_codes();
        find_inlined();
        std::vector<Draft> drafts;
        for (int v = 0; v < values(); ++v) {
            if (value(v).kind == Value::Kind::kSum && !inlined_[at(v)]) drafts.push_back(draft(v));
        }
        set_levels(drafts);
        std::stable_sort(drafts.begin(), drafts.end(),
                         [](const Draft& a, const Draft& b) { return a.order < b.order; });
        make_waves(drafts);
        lay_out(drafts);
        write(drafts);
        describe_head();
        return std::move(plan_);
    }

  private:
    // A step before its planes have places: operands refer to values.
    struct Part {
        Operand operand;
        int source;  // whose plane it reads
    };
    struct Draft {
        int value;
        Step step;
        std::vector<Part> parts;
        std::vector<Read> reads;
        std::vector<Normalised> normalised;
        bool fused = false;
        int together = 1;
        std::array<int, 7> order{};  // level, then what a wave has in common
    };

    const Value& value(int v) const { return program_.values()[at(v)]; }
    int values() const { return static_cast<int>(program_.values().size()); }
    [[noreturn]] static void refuse(int v, const char* why) {
        throw std::invalid_argument("value " + std::to_string(v) + " " + why);
    }

    // ---- what is read, and under which masks it is the same

    void find_outputs() {
        plan_.outputs_ = program_.head().sources;
        for (const int site : plan_.kept) {
            for (const int v : program_.sites().at(at(site))) plan_.outputs_.push_back(v);
        }
        for (const int v : plan_.outputs_) {
            if (value(v).kind != Value::Kind::kSum) refuse(v, "has no plane to keep");
        }
    }

    void find_shared() {
        plan_.shared_.assign(at(values()), !program_.batch());
        for (int v = 0; v < values(); ++v) {
            for (const Term& term : value(v).terms) {
                const bool same =
                    term.slot == native::kNoSlot && (term.source < 0 || plan_.shared(term.source));
                if (!same) plan_.shared_[at(v)] = false;
            }
        }
    }

    void place_codes() {
        for (const auto& site : program_.sites()) {
            for (const int v : site) plan_.coded.push_back(v);
        }
        std::sort(plan_.coded.begin(), plan_.coded.end());
        plan_.coded.erase(std::unique(plan_.coded.begin(), plan_.coded.end()), plan_.coded.end());
        for (const int v : plan_.coded) {
            const Shape& shape = value(v).shape;
            plan_.code_places.push_back(plan_.code_entries);
            const std::size_t entries = at(blocks_of(shape.channels)) * at(shape.height) * at(shape.width);
            plan_.code_entries += (entries + kCodeEntries - 1) / kCodeEntries * kCodeEntries;
        }
    }

    // Depthwise convolutions that 1x1 ones alone read, as they are: these make them on the way, where a
    // lane's registers hold the window and no other depthwise convolution is added.
    void find_inlined() {
        inlined_.assign(at(values()), false);
        for (int v = 0; v < values(); ++v) {
            const std::vector<Term>& terms = value(v).terms;
            inlined_[at(v)] = terms.size() == 1 && terms[0].kind == Term::Kind::kDepthwise &&
                              terms[0].kernel <= 5 && terms[0].slot == native::kNoSlot && !value(v).moments;
            const bool channelwise = std::any_of(terms.begin(), terms.end(), [](const Term& term) {
                return term.kind == Term::Kind::kDepthwise;
            });
            for (const Term& term : terms) {
                const bool one_by_one = term.kind == Term::Kind::kProduct && !term.rectified &&
                                        term.kernel == 1 && term.stride == 1 && term.padding == 0 &&
                                        term.shift == 0;
                if (term.source >= 0 && (channelwise || !one_by_one)) inlined_[at(term.source)] = false;
            }
        }
        for (const int v : plan_.outputs_) inlined_[at(v)] = false;
        for (const int v : plan_.coded) inlined_[at(v)] = false;
    }

    // ---- flags and merged arrays

    int flag_of(const std::vector<int>& slots) {
        plan_.rules.push_back({plan_.flags, slots});
        return plan_.flags++;
    }

    // The chunks of a merged array that begins at the end of `merge`.
    static Offset append(Merge& merge, const std::vector<MergeTerm>& terms, std::size_t count, int value) {
        const Offset first = merge.size;
        for (std::size_t begin = 0; begin < count; begin += kChunk) {
            const int size = static_cast<int>(std::min<std::size_t>(kChunk, count - begin));
            merge.chunks.push_back({first + begin, size, static_cast<int>(merge.terms.size()),
                                    static_cast<int>(terms.size()), value});
            for (const MergeTerm& term : terms) {
                merge.terms.push_back({term.from + begin, term.slot, term.source});
            }
        }
        merge.size += (count + 7) / 8 * 8;
        return first;
    }

    Offset store(const std::vector<float>& numbers) {
        const Offset first = plan_.base.size();
        plan_.base.insert(plan_.base.end(), numbers.begin(), numbers.end());
        plan_.base.resize((plan_.base.size() + 3) / 4 * 4);
        return first;
    }

    int vector_of(const std::vector<const Term*>& terms, const std::vector<int>& sources, int channels,
                  int v) {
        std::vector<MergeTerm> merged;
        for (std::size_t i = 0; i < terms.size(); ++i) {
            std::vector<float> values = terms[i]->values;
            values.resize(padded(channels));
            merged.push_back({store(values), terms[i]->slot, sources[i]});
        }
        return static_cast<int>(append(plan_.vectors, merged, padded(channels), v));
    }

    // ---- steps

    using Key = std::tuple<Operand::Kind, int, std::array<int, 5>>;  // kind, term's source, geometry

    Draft draft(int v) {
        Draft made;
        made.value = v;
        const Shape& shape = value(v).shape;
        made.step.blocks = blocks_of(shape.channels);
        made.step.height = shape.height;
        made.step.width = shape.width;
        made.step.channels = shape.channels;
        made.step.value = v;
        std::vector<const Term*> constants;
        std::map<Key, std::vector<std::size_t>> alike;  // terms that are one operand
        const std::vector<Term>& terms = value(v).terms;
        for (std::size_t t = 0; t < terms.size(); ++t) {
            const Term& term = terms[t];
            if (term.kind == Term::Kind::kConstant) {
                constants.push_back(&term);
                continue;
            }
            alike[key_of(v, term)].push_back(t);
        }
        made.step.bias = vector_of(constants, std::vector<int>(constants.size(), kNone), shape.channels, v);
        for (const auto& [key, of] : alike) made.parts.push_back(part(v, std::get<0>(key), of, made));
        made.fused = std::any_of(made.parts.begin(), made.parts.end(), [](const Part& part) {
            return part.operand.kind == Operand::Kind::kSeparable;
        });
        if (made.fused) {
            made.together = made.step.blocks % 4 == 0 ? 4 : made.step.blocks % 2 == 0 ? 2 : 1;
            for (Part& part : made.parts) {
                if (part.operand.kind == Operand::Kind::kSquare) part.operand.kind = Operand::Kind::kTaps;
            }
            make_squares(made);
        }
        fold_into_squares(made);
        // Those that read one plane follow one another, while a multiprocessor's cache has it.
        std::stable_sort(made.parts.begin(), made.parts.end(),
                         [](const Part& a, const Part& b) { return a.source < b.source; });
        return made;
    }

    Key key_of(int v, const Term& term) const {
        const Value& source = value(term.source);
        switch (term.kind) {
            case Term::Kind::kAveragePool:
                return {Operand::Kind::kAveragePool, term.source, {term.kernel, term.stride, term.padding}};
            case Term::Kind::kLinear:
                if (source.kind == Value::Kind::kMaxPool) {
                    return {Operand::Kind::kMaxPool, term.source, {}};
                }
                if (source.kind != Value::Kind::kSum) refuse(v, "reads what is not a sum");
                return {Operand::Kind::kLinear, term.source, {term.normalised}};
            case Term::Kind::kDepthwise:
                return {Operand::Kind::kDepthwise,
                        term.source,
                        {term.rectified, term.kernel, term.stride, term.shift - term.padding, term.dilation}};
            case Term::Kind::kProduct:
            case Term::Kind::kConstant:
                break;
        }
        if (inlined_[at(term.source)]) return {Operand::Kind::kSeparable, term.source, {}};
        if (source.kind == Value::Kind::kMaxPool) refuse(v, "is a convolution of a max pool");
        return {Operand::Kind::kTaps, term.source, {term.rectified, term.stride}};
    }

    Part part(int v, Operand::Kind kind, const std::vector<std::size_t>& of, Draft& made) {
        std::vector<const Term*> terms;
        std::vector<int> slots;
        for (const std::size_t t : of) {
            terms.push_back(&value(v).terms[t]);
            slots.push_back(terms.back()->slot);
        }
        const Term& first = *terms[0];
        Part part{{}, first.source};
        Operand& o = part.operand;
        o.kind = kind;
        o.flag = flag_of(slots);
        const Shape& shape = value(v).shape;
        const auto scales = [&](int source) {
            return vector_of(terms, std::vector<int>(terms.size(), source), shape.channels, v);
        };
        switch (kind) {
            case Operand::Kind::kLinear:
                o.linear_scale = scales(part.source);
                if (first.normalised) {
                    made.normalised.push_back({part.source, o.linear_scale, made.step.bias,
                                               static_cast<int>(padded(shape.channels)), 0});
                }
                break;
            case Operand::Kind::kAveragePool:
                window(o, first);
                o.pool_scale = scales(part.source);
                break;
            case Operand::Kind::kMaxPool:
                part.source = value(first.source).terms[0].source;
                window(o, value(first.source).terms[0]);
                o.pool_scale = scales(part.source);
                break;
            case Operand::Kind::kSeparable: {
                const Term& window_of = value(first.source).terms[0];
                part.source = window_of.source;
                o.rectified = window_of.rectified;
                window(o, window_of);
                o.depthwise = plan_.filters.size();
                const std::vector<float>& filters = program_.packed(first.source, 0);
                plan_.filters.insert(plan_.filters.end(), filters.begin(), filters.end());
                product(o, v, of, value(first.source).shape.channels, part.source);
                break;
            }
            case Operand::Kind::kDepthwise:
                o.rectified = first.rectified;
                window(o, first);
                o.filters = filters_of(of, v);
                break;
            case Operand::Kind::kTaps:
            case Operand::Kind::kSquare:
                o.rectified = first.rectified;
                o.stride = first.stride;
                product(o, v, of, value(first.source).shape.channels, part.source);
                break;
        }
        for (const int slot : slots) made.reads.push_back({slot, part.source});
        return part;
    }

    // The merged weights of depthwise convolutions of one geometry.
    int filters_of(const std::vector<std::size_t>& of, int v) {
        const Term& first = value(v).terms[of[0]];
        const std::size_t taps = at(first.kernel) * at(first.kernel);
        const std::size_t channels = padded(value(v).shape.channels);
        std::vector<MergeTerm> merged;
        for (const std::size_t t : of) {
            const std::vector<float>& packed = program_.packed(v, t);  // [block][tap][kBlock]
            std::vector<float> lying(taps * channels);
            for (std::size_t tap = 0; tap < taps; ++tap) {
                for (std::size_t c = 0; c < channels; ++c) {
                    lying[tap * channels + c] = packed[(c / kBlock * taps + tap) * kBlock + c % kBlock];
                }
            }
            merged.push_back({store(lying), value(v).terms[t].slot, first.source});
        }
        return static_cast<int>(append(plan_.vectors, merged, taps * channels, v));
    }

    static void window(Operand& o, const Term& term) {
        o.kernel = term.kernel;
        o.stride = term.stride;
        o.first = term.shift - term.padding;
        o.dilation = term.dilation;
    }

    // The merged weights of convolutions of one input, over all taps that one of them has.
    void product(Operand& o, int v, const std::vector<std::size_t>& of, int in, int source) {
        std::map<std::array<int, 2>, int> taps;
        const auto place = [](const Term& term, int ky, int kx) {
            const int first = term.shift - term.padding;
            return std::array<int, 2>{first + ky * term.dilation, first + kx * term.dilation};
        };
        const std::vector<Term>& terms = value(v).terms;
        for (const std::size_t t : of) {
            for (int ky = 0; ky < terms[t].kernel; ++ky) {
                for (int kx = 0; kx < terms[t].kernel; ++kx) taps[place(terms[t], ky, kx)] = 0;
            }
        }
        int number = 0;
        o.places = plan_.places.size();
        for (auto& [where, index] : taps) {
            index = number++;
            plan_.places.push_back({where[0], where[1]});
        }
        o.taps = number;
        constexpr std::array<int, 2> kFirst{-1, -1}, kLast{1, 1};
        if (o.kind == Operand::Kind::kTaps && o.stride == 1 && number == 9 && taps.begin()->first == kFirst &&
            taps.rbegin()->first == kLast) {
            o.kind = Operand::Kind::kSquare;
        }
        const int words = blocks_of(in), blocks = blocks_of(value(v).shape.channels);
        const std::size_t size = at(blocks) * at(number) * at(words) * kWord;
        std::vector<MergeTerm> merged;
        for (const std::size_t t : of) {
            const Term& term = terms[t];
            const std::vector<float>& packed = program_.packed(v, t);  // [block][tap][in][kBlock]
            std::vector<float> lying(size);
            for (int b = 0; b < blocks; ++b) {
                for (int ky = 0; ky < term.kernel; ++ky) {
                    for (int kx = 0; kx < term.kernel; ++kx) {
                        const int own = ky * term.kernel + kx, tap = taps.at(place(term, ky, kx));
                        const float* from =
                            packed.data() + at(b * term.kernel * term.kernel + own) * at(in) * kBlock;
                        for (int w = 0; w < words; ++w) {
                            float* to = lying.data() + (at(b * number + tap) * at(words) + at(w)) * kWord;
                            for (int i = 0; i < kWord; ++i) {
                                const int input = w * kBlock + order_[at(i)] / kBlock;
                                if (input < in) to[i] = from[at(input) * kBlock + order_[at(i)] % kBlock];
                            }
                        }
                    }
                }
            }
            merged.push_back({store(lying), term.slot, source});
        }
        o.weights = append(plan_.weights, merged, size, v);
    }

    static bool is_near(const Operand& o) {
        return o.kind == Operand::Kind::kAveragePool && o.kernel == 3 && o.stride == 1 && o.first == -1;
    }

    // Where averages of neighbours have no convolution beside them, each is a square without one.
    static void make_squares(Draft& made) {
        for (Part& part : made.parts) {
            if (!is_near(part.operand)) continue;
            part.operand.kind = Operand::Kind::kSquare;
            part.operand.pool_flag = std::exchange(part.operand.flag, kNone);
        }
    }

    // A square has its source's pixels at hand: it takes over their average and themselves.
    static void fold_into_squares(Draft& made) {
        std::vector<Part> left;
        std::vector<Part> squares;
        for (const Part& part : made.parts) {
            (part.operand.kind == Operand::Kind::kSquare ? squares : left).push_back(part);
        }
        for (Part& square : squares) {
            Operand& into = square.operand;
            std::erase_if(left, [&](const Part& other) {
                const Operand& o = other.operand;
                if (other.source != square.source) return false;
                if (is_near(o) && into.pool_flag == kNone) {
                    into.pool_flag = o.flag;
                    into.pool_scale = o.pool_scale;
                    return true;
                }
                if (o.kind == Operand::Kind::kLinear && into.flag_linear == kNone) {
                    into.flag_linear = o.flag;
                    into.linear_scale = o.linear_scale;
                    return true;
                }
                return false;
            });
        }
        made.parts = std::move(left);
        made.parts.insert(made.parts.end(), squares.begin(), squares.end());
    }

    // ---- waves

    void set_levels(std::vector<Draft>& drafts) {
        std::vector<int> level(at(values()), 0);
        for (Draft& d : drafts) {  // readers come after what they read
            for (const Part& part : d.parts)
                level[at(d.value)] = std::max(level[at(d.value)], level[at(part.source)]);
            for (const Normalised& n : d.normalised) {
                level[at(d.value)] = std::max(level[at(d.value)], level[at(n.source)]);
            }
            ++level[at(d.value)];
            d.order = {level[at(d.value)],    d.step.blocks, d.step.height, d.step.width,
                       plan_.shared(d.value), d.together,    d.fused};
        }
    }

    void make_waves(const std::vector<Draft>& drafts) {
        plan_.step_of_.assign(at(values()), kNone);
        for (std::size_t i = 0; i < drafts.size(); ++i) {
            const Draft& d = drafts[i];
            plan_.step_of_[at(d.value)] = static_cast<int>(i);
            if (i == 0 || drafts[i - 1].order != d.order) {
                plan_.waves.push_back({static_cast<int>(i), 0, d.step.blocks, d.step.height, d.step.width,
                                       plan_.shared(d.value), d.fused, d.together});
            }
            ++plan_.waves.back().count;
        }
    }

    int wave_of(int step) const {
        int wave = 0;
        while (step >= plan_.waves[at(wave)].first + plan_.waves[at(wave)].count) ++wave;
        return wave;
    }

    // ---- planes: a place is free again after the last wave that reads it

    void lay_out(const std::vector<Draft>& drafts) {
        const int end = static_cast<int>(plan_.waves.size());
        std::vector<int> last(at(values()), kNone), wave(drafts.size());
        for (std::size_t i = 0; i < drafts.size(); ++i) {
            wave[i] = wave_of(static_cast<int>(i));
            for (const Part& part : drafts[i].parts) {
                last[at(part.source)] = std::max(last[at(part.source)], wave[i]);
            }
            if (value(drafts[i].value).moments) {
                last[at(drafts[i].value)] = std::max(last[at(drafts[i].value)], wave[i]);
            }
        }
        for (const int v : program_.head().sources) last[at(v)] = end;
        std::vector<std::vector<int>> dying(at(end) + 1);
        native::Places places;
        planes_.assign(at(values()), {});
        const auto bytes_of = [&](const Shape& shape) {
            return padded(shape.channels) * at(shape.height) * at(shape.width) *
                   at(program_.layout().element_bytes);
        };
        for (int v = 0; v < values(); ++v) {
            const Shape& shape = value(v).shape;
            planes_[at(v)] = {0,
                              bytes_of(shape),
                              blocks_of(shape.channels),
                              shape.height,
                              shape.width,
                              value(v).kind == Value::Kind::kImages ? Where::kImages
                              : plan_.shared(v)                     ? Where::kShared
                                                                    : Where::kOwn};
        }
        for (int w = 0; w < end; ++w) {
            for (int i = plan_.waves[at(w)].first; i < plan_.waves[at(w)].first + plan_.waves[at(w)].count;
                 ++i) {
                const int v = drafts[at(i)].value;
                Plane& plane = planes_[at(v)];
                if (last[at(v)] == kNone) continue;
                stored_.push_back(v);
                if (plane.where == Where::kShared) {
                    plane.offset = plan_.shared_bytes;
                    plan_.shared_bytes += (plane.bytes + 63) / 64 * 64;
                } else {
                    plane.offset = places.take(plane.bytes);
                    dying[at(last[at(v)])].push_back(v);
                }
            }
            for (const int v : dying[at(w)]) places.give(planes_[at(v)].offset, planes_[at(v)].bytes);
        }
        plan_.own_bytes = places.end();
    }

    // ---- what the GPU gets

    void write(std::vector<Draft>& drafts) {
        std::sort(stored_.begin(), stored_.end());
        plan_.normalised.resize(plan_.waves.size());
        std::map<int, Offset> moments;
        for (int v = 0; v < values(); ++v) {
            if (!value(v).moments) continue;
            moments[v] = plan_.moment_floats;
            plan_.moment_floats += 3 * padded(value(v).shape.channels);
        }
        std::map<int, std::pair<Offset, Offset>> kept;  // value -> place, floats
        for (std::size_t i = 0; i < drafts.size(); ++i) {
            Draft& d = drafts[i];
            Step& step = d.step;
            step.first_operand = static_cast<int>(plan_.operands.size());
            step.operands = static_cast<int>(d.parts.size());
            step.first_read = static_cast<int>(plan_.reads.size());
            step.reads = static_cast<int>(d.reads.size());
            plan_.reads.insert(plan_.reads.end(), d.reads.begin(), d.reads.end());
            step.out = planes_[at(d.value)];
            step.stored = std::binary_search(stored_.begin(), stored_.end(), d.value) ? 1 : 0;
            step.flag = plan_.flags++;
            const auto coded = std::lower_bound(plan_.coded.begin(), plan_.coded.end(), d.value);
            if (coded != plan_.coded.end() && *coded == d.value) {
                step.codes = plan_.code_places[static_cast<std::size_t>(coded - plan_.coded.begin())];
            }
            for (Part& part : d.parts) {
                part.operand.plane = planes_[at(part.source)];
                plan_.operands.push_back(part.operand);
            }
            const int wave = wave_of(static_cast<int>(i));
            for (Normalised& n : d.normalised) {
                n.moments = moments.at(n.source);
                plan_.normalised[at(wave)].push_back(n);
            }
            if (value(d.value).moments) {
                plan_.moments.push_back(
                    {d.value, planes_[at(d.value)], moments.at(d.value), wave, step.flag});
            }
            plan_.steps.push_back(step);
            plan_.values.push_back(d.value);
        }
        for (const int site : plan_.kept) keep(program_.sites().at(at(site)));
    }

    void keep(const std::vector<int>& site) {
        Offset floats = 0;
        for (const int v : site) {
            const Shape& shape = value(v).shape;
            Step& step = plan_.steps[at(plan_.step_of_[at(v)])];
            if (step.feature != kNowhere) refuse(v, "is kept twice");
            step.feature = plan_.kept_floats;
            step.feature_place = floats;
            floats += at(shape.channels) * at(shape.height) * at(shape.width);
        }
        for (const int v : site) plan_.steps[at(plan_.step_of_[at(v)])].feature_image = floats;
        plan_.kept_sizes.push_back(floats);
        plan_.kept_floats += floats;
    }

    void describe_head() {
        for (const int v : program_.head().sources) {
            plan_.head.push_back({planes_[at(v)], value(v).shape.channels});
            plan_.features += value(v).shape.channels;
        }
    }

    const Program& program_;
    std::array<std::uint8_t, kWord> order_;
    Plan plan_;
    std::vector<Plane> planes_;  // per value
    std::vector<int> stored_;    // values with a plane
    std::vector<bool> inlined_;  // values without a step, which those that read them make
};

}  // namespace

std::vector<std::uint8_t> Plan::flags_under(const float* mask) const {
    std::vector<std::uint8_t> found(at(flags), 0);
    const auto left = [&](int slot) { return slot == native::kNoSlot || mask[slot] != 0; };
    for (const FlagRule& rule : rules) {
        found[at(rule.flag)] = std::any_of(rule.slots.begin(), rule.slots.end(), left) ? 1 : 0;
    }
    const std::vector<Value>& values = program->values();
    std::vector<char> live(values.size(), 0);
    for (const int v : outputs_) live[at(v)] = 1;
    for (std::size_t v = values.size(); v-- > 0;) {  // readers come after what they read
        if (!live[v]) continue;
        for (const Term& term : values[v].terms) {
            if (term.source >= 0 && left(term.slot)) live[at(term.source)] = 1;
        }
        if (step_of_[v] != kNone) found[at(steps[at(step_of_[v])].flag)] = 1;
    }
    return found;
}

Plan plan(std::shared_ptr<const native::Program> program, const std::vector<int>& kept) {
    return Planner(std::move(program), kept).made();
}

}  // namespace znas::cuda
