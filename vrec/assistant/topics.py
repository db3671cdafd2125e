"""Subjects of customer service with their words in English and Chinese.

They tell a question of customer service from a wish to buy, let a question find its passage in other words or
in the other language, and let one be refused whose subject no passage has.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from babel import Locale

from vrec.assistant.lexicon import PhraseIndex, Term
from vrec.assistant.text import Unit
from vrec.assistant.vocabulary import names

SERVICE_TOPICS: Mapping[str, str] = {
    "return": "return, returned, returning, returnable, send back, sending back, sent back, "
    "give back, bring back, take back, come back, go back, send something back, send it back, "
    "send things back, sending things back, sending it back, send this back, withdraw from, "
    "change my mind, change your mind, changed my mind, 退货, 退回, 退换, 寄回, 退, 可退, 能退, 反悔, 无理由",
    "refund": "refund, refunded, refunds, money back, get my money, reimburse, reimbursed, 退款, 退钱, "
    "到账, 钱退, 退给我, 钱什么时候, 原路",
    "exchange": "exchange, exchanged, exchanging, swap, swapped, swapping, replace, replacement, "
    "another size, bigger one, smaller one, 换货, 换一件, 换成别的, 换码, 退换, 调换, 换大, 换小, "
    "更换, 能换, 换尺码, 换颜色, 换",
    "deliver": "deliver, delivery, delivered, delivering, ship, shipping, shipped, ships, "
    "shipment, arrive, arrives, arrived, arrival, dispatch, dispatched, courier, post, postage, "
    "mailed, get here, reach me, on its way, send to, send it to, 配送, 发货, 送货, 快递, 送达, 送到, "
    "邮寄, 寄到, "
    "寄出, 寄送, 能寄, 物流, 发到, 收到货, 能收到, 派送, 到货时间",
    "track": "track, tracking, tracking number, follow my order, whereabouts, 查物流, 查快递, 运单, 单号, "
    "物流信息, 追踪",
    "postage": "postage, delivery cost, delivery costs, delivery fee, shipping cost, "
    "shipping costs, shipping fee, free delivery, free shipping, shipping free, delivery free, "
    "charge for shipping, cost of shipping, 运费, 邮费, 邮资, 包邮, 快递费, 配送费, 免邮",
    "abroad": "abroad, country, countries, international, internationally, overseas, europe, "
    "european union, eu, uk, customs, worldwide, foreign, where we deliver, where do you deliver, "
    "国外, 海外, 国际, 全国, 偏远, 配送范围, 海岛, 新疆, 西藏",
    "pickup": "pick up, pick my order up, pick it up, pickup, collect, click and collect, locker, "
    "parcel shop, collection point, fetch, in person, 自提, 自提点, 快递柜, 驿站, 代收点, 自己去拿, "
    "自己去店, 去店里拿, 到店取",
    "lost": "lost, missing, not arrived, never arrived, never came, never showed up, disappeared, "
    "stolen, missed, nobody home, nobody's home, nobody is at home, not at home, 丢, 丢件, 丢失, "
    "没收到, 不见, "
    "寄丢, 没人在家",
    "express": "express, next day, next working day, urgent, faster, same day, rush, 加急, 次日, 急件, "
    "当日达",
    "warranty": "warranty, warranties, guarantee, guaranteed, guarantees, 保修, 质保, 保修期, "
    "质量承诺, 三包, 保用",
    "repair": "repair, repaired, repairs, repairing, fix, fixed, broken, break, breaks, damage, "
    "damaged, broke, defective, defect, faulty, fault, faults, stopped working, doesn't work, "
    "not working, 维修, 返修, 修, 坏, 损坏, 摔坏, 摔, 破损, 故障, 质量问题",
    "part": "spare part, spare parts, spares, replacement part, 配件, 零件, 备件",
    "pay": "pay, payment, payments, paid, paying, credit card, credit cards, debit card, paypal, "
    "visa, mastercard, apple pay, bank transfer, wallet, cash, checkout, 付款, 支付, 付钱, 支付宝, "
    "微信, 银行卡, "
    "信用卡, 银联, 刷卡, 结账",
    "instalment": "instalment, instalments, installment, installments, in parts, monthly, months, "
    "pay later, spread the cost, financing, interest, 分期, 免息, 月付, 花呗",
    "voucher": "voucher, vouchers, coupon, coupons, code, codes, discount code, promo code, "
    "promotion, 优惠券, 折扣码, 优惠码, 促销码, 代金券, 券, 叠加",
    "giftcard": "gift card, gift cards, gift voucher, 礼品卡, 购物卡",
    "invoice": "invoice, invoices, receipt, receipts, bill, bills, vat, vat number, tax number, "
    "tax, 发票, 收据, 税号, 抬头, 开票",
    "cancel": "cancel, canceled, cancelled, canceling, cancelling, cancellation, call off, 取消, 撤单",
    "alter": "change my order, change the order, change the address, change my address, "
    "wrong address, correct the address, address, modify, 修改, 更改, 改地址, 地址, 填错, 能改",
    "wash": "wash, washed, washing, laundry, tumble dry, tumble-dry, tumble, dryer, ironing, "
    "dry cleaning, 洗, 清洗, 洗涤, 烘干, 晾, 水洗, 机洗, 手洗, 干洗",
    "care": "care, clean, cleaning, cleaned, look after, maintain, maintenance, 清洁, 保养, 养护, 护理, 打理",
    "kitchen": "dishwasher, dishwasher safe, microwave, oven, 洗碗机, 微波炉, 烤箱",
    "account": "account, accounts, log in, login, sign in, sign up, register, registration, 账号, "
    "账户, 登录, 注册, 注销",
    "password": "password, passwords, 密码",
    "privacy": "privacy, personal data, my data, your data, data, gdpr, erase, delete my, 隐私, "
    "个人信息, 数据, 注销",
    "store": "physical store, branch, opening hours, opening times, open on, open at, "
    "open until, you open, your store, a store, "
    "a shop in, your shop, stores, showroom, 门店, 实体店, 营业, 开门, 关门, 店在哪, 几点",
    "wrap": "gift wrap, gift wrapping, gift-wrapping, wrapped, wrapping, wrap, 礼品包装, 礼盒, 包装",
    "note": "greeting card, handwritten, gift message, 贺卡, 代写, 留言卡",
    "assemble": "assemble, assembled, assembly, install, installation, set up, mount, "
    "put together, build it, 安装, 组装, 拼装",
    "contact": "contact, call you, phone number, telephone, e-mail address, reach you, hotline, "
    "联系方式, 联系你们, 电话号码, 客服电话, 邮箱",
    "recycle": "used clothes, used items, old clothes, second hand, dispose, recycle, recycled, "
    "recycling, take away, 旧衣, 二手, 回收",
    "tradein": "trade in, trade-in, part exchange, 以旧换新, 置换",
    "restock": "back in stock, restock, restocked, pre-order, preorder, 补货, 缺货, 预售, 再上架",
    "points": "points, loyalty, loyalty programme, loyalty program, membership, member, members, "
    "rewards, 积分, 会员",
    "bargain": "price match, price matching, match the price, match prices, haggle, bargain with, "
    "negotiate, 砍价, 讲价, 还价, 议价",
    "discount": "discount, discounts, student discount, military discount, 学生优惠, 折扣, 优惠",
    "wholesale": "wholesale, bulk order, bulk orders, reseller, resell, 批发, 团购, 代理",
    "jobs": "hiring, do you hire, hire people, hire staff, job, jobs, career, careers, vacancy, "
    "vacancies, internship, work for you, 招人, 招聘, 应聘, 实习, 招老师, 招员工, 招店员, 你们招",
    "sponsor": "sponsor, sponsors, sponsorship, influencer, influencers, affiliate, partnership, "
    "collaborate, 赞助, 合作, 加盟",
    "company": "ceo, founder, founded, founders, owner, headquarters, your company, the company, "
    "老板, 创始人, 总部, 公司在",
    "trial": "try on, try it, try before, test ride, test drive, free trial, trial, free sample, "
    "试用, 试穿, 试骑, 试驾, 小样",
    "ethics": "vegan, cruelty free, cruelty-free, animal testing, fair trade, sustainable, "
    "sustainability, 纯素, 环保认证",
    "origin": "made in, clothes made, products made, manufactured, where are they made, "
    "country of origin, 产地, 哪里生产, 哪里产, 原产",
    "cod": "cash on delivery, pay on delivery, 货到付款, 到付, 货到",
    "crypto": "bitcoin, crypto, cryptocurrency, ethereum, 比特币, 虚拟货币",
    "robot": "robot, bot, chatbot, are you human, artificial intelligence, 机器人, 人工智能",
    "parking": "park, parking, car park, parking lot, parking space, 停车, 停车场, 停车位, 车位",
    "insure": "insure, insured, insurance, 保险, 投保",
    "toilet": "toilet, toilets, restroom, washroom, 洗手间, 厕所, 卫生间",
    "rent": "rent, rented, renting, rental, rentals, 租, 租赁, 出租, 租借, 租金",
    "deposit": "deposit, deposits, 押金, 订金, 定金",
    "engrave": "engrave, engraved, engraving, personalized, personalised, 刻字, 刻上, 刻名字",
    "app": "the app, your app, mobile app, 手机app, 客户端",
    "policy": "policy, policies, terms and conditions, terms, conditions, 政策, 条款, 规定",
}
"""Words of the subjects that make a question one of customer service, between commas."""
DETAIL_TOPICS: Mapping[str, str] = {
    "how": "how do i, how do you, how can i, how to, how should i, how does, how do, steps, "
    "procedure, 怎么, 如何, 怎样, 流程, 步骤, 操作",
    "parcel": "parcel, parcels, package, packages, order, orders, 包裹, 订单, 东西",
    "fee": "cost, costs, fee, price, charge, free of charge, free, how much, expensive, costing, "
    "费用, 免费, 多少钱, 多少, 收费, 花钱, 怎么算, 满",
    "time": "how long, how many days, how fast, how soon, until when, when, days, day, week, "
    "weeks, month, year, years, hours, working days, soon, quickly, deadline, window, time limit, "
    "today, expect, 多久, 几天, 几年, 多长时间, 什么时候, 天内, 工作日, 期限, 多少天, 年, 个月, 两年, "
    "三年, 当天, 之内",
    "size": "size, sizes, sizing, fit, fits, measure, measured, chest, measurement, centimeter, "
    "cm, 尺码, 码, 尺寸, 大小, 号, 胸围, 合身, 厘米, 脚长, 量",
    "exclude": "cannot, can't, not covered, excluded, except, not returned, 不能, 不支持, 不可, "
    "不接受, 不算, "
    "不保修, 不在",
    "shoe": "shoe, shoes, foot, feet, sneaker, sneakers, boots, 鞋, 鞋子, 鞋码, 脚, 脚长, 运动鞋",
    "clothes": "clothes, clothing, shirt, dress, garment, sweater, 衣服, 衣物, 连衣裙, 服装, 毛衣",
    "material": "material, made of, fabric, ingredients, 材质, 面料, 成分",
    "silk": "silk, wool, 真丝, 丝绸, 羊毛, 羊绒",
    "cotton": "cotton, 棉, 棉质, 纯棉",
    "mug": "mug, mugs, cup, cups, bowl, bowls, ceramics, ceramic, 马克杯, 杯子, 碗, 陶瓷",
    "color": "color, colour, 颜色",
    "cosmetics": "cosmetics, makeup, lipstick, opened, unsealed, used, worn, wore, unused, unworn, "
    "化妆品, 拆封, 开封, 用过, 穿过, 未穿着",
    "jewelry": "earring, earrings, ring, rings, jewelry, 耳饰, 耳环, 戒指, 首饰",
    "business": "company invoice, company's invoice, business, businesses, our company, 公司, 企业",
    "wechat": "wechat, wechat pay, weixin, 微信, 微信支付",
    "alipay": "alipay, 支付宝",
    "lesson": "lesson, lessons, class, classes, course, courses, tuition, 课, 课程, 上课, 培训",
    "label": "label, labels, tag on, original packaging, the box, 吊牌, 原包装, 面单",
}
"""Words of what else a question may be about, which a wish to buy may name too."""
TOPICS: Mapping[str, str] = {**SERVICE_TOPICS, **DETAIL_TOPICS}
THING_TOPICS = frozenset({"kitchen"})
"""Subjects whose words also are things that a shop may sell."""
GENERAL_TOPICS = frozenset({"how", "time", "fee", "parcel", "exclude", "policy"})
"""Subjects of questions about anything, which say little of what is asked."""


COUNTRY = "country"
"""Subject of the name of a country, which alone makes no question one of customer service."""
_NO_COUNTRY = frozenset({"china", "中国", "也门", "多哥"})
"""Names of countries that also are, or stand in, other words, or name most shops' own country."""
_MORE_COUNTRIES = "britain, england, scotland, wales, northern ireland, america, usa, holland, 英格兰, 苏格兰"


def _countries() -> Iterator[str]:
    """Iterate over the names of countries in both languages (Unicode CLDR)."""
    for language in ("en", "zh_Hans"):
        territories = Locale.parse(language).territories
        yield from (name for code, name in territories.items() if len(code) == 2 and code.isalpha())
    yield from names(_MORE_COUNTRIES)


@cache
def topic_index() -> PhraseIndex:
    """Return the index of all words of TOPICS; a term's value is the subject."""
    index = PhraseIndex(parts=True)
    for topic, line in TOPICS.items():
        for name in names(line):
            index.add(name, Term("tag", topic))
    for name in _countries():
        if name.casefold() not in _NO_COUNTRY:
            index.add(name, Term("tag", COUNTRY))
    return index


def names_service(units: Sequence[Unit], *, of_things: bool = True) -> bool:
    """Return whether a text names a subject of customer service.

    Args:
        units: Units of the text.
        of_things: Whether the name of a thing, such as a microwave, is one.
    """
    subjects = {term.value for mention in topic_index().find(units) for term in mention.terms}
    return not (SERVICE_TOPICS.keys() - (() if of_things else THING_TOPICS)).isdisjoint(subjects)
