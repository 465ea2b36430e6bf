"""Words of people's own prompts: decent ones pass, sexual ones do not, however they are typed; names go by a list."""

import pytest

from portrait.errors import UserError
from portrait.generation.refused_words import check_words, is_refused, parse_names

DECENT_EN = """
a portrait of a woman in Essex
an assassin in a dark cloak, film still
a pilot in the cockpit of an old plane
bare shoulders, evening dress
nude lipstick and soft light
a nude-coloured dress, pearl earrings
nude make-up, freckles
stars visible to the naked eye
working over a naked flame in a forge
a same-sex couple on their wedding day
a double-breasted suit with a breast pocket square
cocktail party in Scunthorpe
a peacock feather in her hat
holding a weathercock
Moby Dick, the old captain
graduating cum laude
a documentary analyst in an office
an analog photograph, grain, 35 mm
a striped shirt
a strip mall at night, neon
a classic portrait with grass behind
passport photo, plain background
a man in a Sussex pub
middlesex county fair
a dickensian street
hancock building, Chicago
a shiitake mushroom farm
a titmouse on a branch
a constitution hall
he titrates in a laboratory
pussy willow branches in a vase
kinky hair, natural curls
a rapeseed field in bloom
a grape harvest
therapist at work
a scraped knee
shirtless boxer in a ring
a swimmer in a bikini at the beach
a ballerina in a tutu
a child with a kite
my daughter with a missing tooth, 7 years old
a baby in a cradle
a teenager with a skateboard
a boy and his dog, 10 year old
lolita fashion, lace and ribbons
a lollipop in her hand
XXL hoodie, streetwear
a muscular man, bare chest, bodybuilder on stage
low-cut evening gown
underwear advertisement of the 1950s, grown woman, tasteful
without glasses
no hat
taking off his hat
a clothes line without clothes hangers
sextant and map, a navigator
a sextet of musicians
buttoned coat, butter-yellow scarf
(sharp focus:1.2), [soft|hard] light
mother and child reading
an adult man with a beard
breast cancer awareness ribbon
24 years old, freckles
Anna in a garden, 18 years old, bikini
20 years old car, man in a bikini shop
""".strip().splitlines()
DECENT_ZH = """
裸色口红，柔和的光
裸妆，淡淡的微笑
裸粉色连衣裙
裸眼可见的星空
露肩晚礼服
知性感的办公室肖像
个性感十足的街头风
理性感知的光影
女性爱美的一面
女性交流会上的演讲
同性交友
双手做爱心手势
站在路口交通灯旁
港口交易所门前
隐私处理办公室
树阴部分的阳光
穿着泳装在海边
小女孩放风筝
七岁的孩子在画画
少年在打篮球
宝宝的百日照
妈妈和女儿
洛丽塔裙，蕾丝花边
证件照，蓝色背景
穿着旗袍的女子
古装，汉服，桃花
淫雨霏霏的江南小巷
二十岁的女孩，比基尼
""".strip().splitlines()
REFUSED_EN = """
nude
a nude woman on a sofa
artistic nudity
naked in the forest
topless on the beach
a Nude, oil painting
half-naked man
without clothes
wearing nothing
no clothes, standing
take off her clothes
remove the dress, show breasts
undressed
NSFW
porn star
pornographic
hentai style
erotic photograph
sexy pose
sexual act
having sex
lingerie shoot
bare breasts
nipples visible
see-through dress
upskirt
masturbating
bdsm, rope
striptease
penis
onlyfans model
wet t-shirt contest
loli in a dress
shota
barely legal
birthday suit
""".strip().splitlines()
EVASIONS = """
n u d e
n.u.d.e woman
n-u-d-e
n_a_k_e_d
nuuuude
nnnaked
s3xy
n4ked
p0rn
pr0n
t0pless
NÚDE
ｎｕｄｅ
nu\u200bde
na\u00adked
n\u2060ude
nud\u0435
\u0455\u0435xy
(nude:1.3)
[nude|dress]
nude照片
$exy
裸 体
裸·体
裸\u200b照
裸體
""".strip().splitlines()
REFUSED_ZH = """
裸体
全裸的女人
半裸
赤裸上身的她
脱光衣服
不穿衣服
没有穿衣服的照片
一丝不挂
色情图片
性感写真
性爱场面
女性性感照片
做爱
情趣内衣
露点
巨乳
制服诱惑
黄色图片
强奸
萝莉控
大尺度写真
透视装
""".strip().splitlines()
YOUNG = """
a child in a bikini
teen girl in stockings
schoolgirl, seductive look
little girl in underwear
14 years old, lingerie
a 16-year-old, cleavage
15yo in a bikini
toddler, sensual
小女孩，内衣
少女，黑丝，诱惑
十五岁，比基尼
12岁女孩 低胸
未成年人，撩人
""".strip().splitlines()


@pytest.mark.parametrize("text", [*DECENT_EN, *DECENT_ZH])
def test_decent_words_pass(text: str) -> None:
    assert not is_refused([text])


@pytest.mark.parametrize("text", [*REFUSED_EN, *REFUSED_ZH, *EVASIONS, *YOUNG])
def test_what_is_sexual_is_refused(text: str) -> None:
    assert is_refused([text])


def test_there_are_as_many_phrases_as_the_lists_are_long_for() -> None:
    assert len(DECENT_EN) + len(DECENT_ZH) >= 60
    assert len(REFUSED_EN) + len(REFUSED_ZH) >= 40


def test_for_somebody_who_may_be_a_child_more_is_refused() -> None:
    for text in ("in a bikini", "seductive look", "黑丝", "shirtless on the beach"):
        assert not is_refused([text])
        assert is_refused([text], child=True)
    assert not is_refused(["with a kite at the beach", "bare shoulders"], child=True)


def test_texts_of_one_request_are_read_together() -> None:
    assert not is_refused(["a child"])
    assert not is_refused(["in stockings"])
    assert is_refused(["a child", "in stockings"])


def test_names_are_those_of_the_list() -> None:
    names = parse_names("# people who asked\nJane Doe\n\nÉmile Roux  # until 2030\n李小明\nＡｎｎ Lee\n#\n  - \n")
    assert names == ("Jane Doe", "Émile Roux", "李小明", "Ａｎｎ Lee")
    for text in (
        "as JANE doe",
        "jane-doe at sea",
        "JaneDoe",
        "emile roux",
        "像李小明一样",
        "李 小 明",
        "ann lee",
        "j a n e d o e",
    ):
        assert is_refused([text], names), text
    for text in (
        "jane",
        "a doe in the wood",
        "janet doering",
        "jane doeberg",
        "李小",
        "小明",
        "annlees",
        "a lee shore",
    ):
        assert not is_refused([text], names), text
    assert not is_refused(["Jane Doe"])


def test_the_sentence_repeats_no_word() -> None:
    with pytest.raises(UserError, match="may not be drawn") as raised:
        check_words(["a nude Jane Doe"], ["Jane Doe"])
    assert raised.value.code == "words_refused"
    assert "nude" not in raised.value.message
    assert "Jane" not in raised.value.message
    check_words(["a sailor at sea", ""], ["Jane Doe"])
